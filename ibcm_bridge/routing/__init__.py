"""From the ClientHello to a publication."""
