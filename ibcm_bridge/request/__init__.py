"""Whether a request head may be sent: the head, its target, its role's table."""
