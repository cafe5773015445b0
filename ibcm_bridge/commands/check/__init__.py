"""`ibcm-bridge check`: a policy against clients, site systems and this machine."""
