"""Runs a bridge: from its start to its stop, and from one policy to the next."""
