"""Records the bytes of connections, and writes them as captures for Wireshark."""
