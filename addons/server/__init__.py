"""Listeners and connections. Every hook and layer runs guarded and fails closed."""
