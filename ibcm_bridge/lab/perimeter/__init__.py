"""The complete lab on one machine."""
