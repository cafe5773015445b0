"""Storage on disk: bindings, uploads, locks."""
