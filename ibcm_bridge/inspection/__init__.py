"""Whether a body holds malicious content (BRIDGE-INSPECT)."""
