"""Authentication of clients: certificates, certification paths and revocation."""
