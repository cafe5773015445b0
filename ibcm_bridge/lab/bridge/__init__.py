"""Runs the bridge as a process."""
