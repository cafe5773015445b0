"""From the ClientHello to the publication."""
