"""The audit trail and its file."""
