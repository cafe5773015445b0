"""The page of `run --web`: redacted copies of traffic, read only."""
