"""Inspection of bodies and replies for malicious content (BRIDGE-INSPECT)."""
