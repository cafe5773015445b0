"""The public key infrastructure of the lab."""
