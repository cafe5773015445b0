"""`ibcm-bridge explain`: one described request through every stage."""
