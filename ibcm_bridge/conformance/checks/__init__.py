"""The checks by topic; `conformance.collection` finds them."""
