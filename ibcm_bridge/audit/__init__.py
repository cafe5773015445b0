"""What the bridge records about a request, without secrets."""
