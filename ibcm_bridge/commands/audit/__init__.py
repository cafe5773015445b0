"""`ibcm-bridge audit`."""
