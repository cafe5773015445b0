"""Authorization of request heads: the head, the target, and the table of the role."""
