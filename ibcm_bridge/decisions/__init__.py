"""Refusals: each reason, the response to the client, and the client's reaction."""
