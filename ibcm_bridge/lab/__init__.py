"""The lab: simulated site systems and clients for demos and tests. Not for production."""
