"""The whole lab on one machine."""
