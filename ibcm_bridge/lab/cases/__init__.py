"""The cases of the demonstration."""
