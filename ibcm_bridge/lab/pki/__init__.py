"""The lab's certificates."""
