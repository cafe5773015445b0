"""`ibcm-bridge explain`: follows a described request through every stage."""
