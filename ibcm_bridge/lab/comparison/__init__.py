"""Compares a case through the bridge with the same case through a tunnel."""
