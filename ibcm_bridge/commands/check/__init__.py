"""`ibcm-bridge check`: checks a policy against clients, site systems and this machine."""
