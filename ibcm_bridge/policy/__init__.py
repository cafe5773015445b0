"""What is published: the values of one policy file. They cannot be half right."""
