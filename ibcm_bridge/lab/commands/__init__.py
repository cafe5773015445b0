"""`ibcm-bridge lab`: up, down, client."""
