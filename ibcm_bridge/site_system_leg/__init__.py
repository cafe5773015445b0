"""The site-system leg: the last gate, where it connects, and what it may answer."""
