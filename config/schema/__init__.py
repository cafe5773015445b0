"""JSON schemas for editors; a test keeps them equal to the code."""
