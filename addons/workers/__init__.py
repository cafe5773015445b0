"""Several processes that serve the same ports, and the parent process that supervises them."""
