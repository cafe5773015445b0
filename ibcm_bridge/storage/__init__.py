"""What is kept on disk: bindings, uploads, locks."""
