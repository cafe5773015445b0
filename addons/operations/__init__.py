"""Metrics, probes, and messages to the service manager."""
