"""Listeners and connections: every hook and layer is guarded here, and fails closed."""
