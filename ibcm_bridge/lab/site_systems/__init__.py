"""Simulated site systems, and records of the requests that reach them."""
