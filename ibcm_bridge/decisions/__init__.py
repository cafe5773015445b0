"""Refusals: every reason, what the client receives for it, and how the client reacts."""
