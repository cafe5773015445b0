"""The cases of the demo."""
