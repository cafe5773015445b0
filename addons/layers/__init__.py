"""The mitmproxy layers of a connection, from its first byte to its end."""
