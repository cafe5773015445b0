"""Reads recorded bytes as a sniffer without secrets does: TLS records, with words for each part."""
