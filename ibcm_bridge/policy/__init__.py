"""The values of one policy file. They exist only if the whole file is valid."""
