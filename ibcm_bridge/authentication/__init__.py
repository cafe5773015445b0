"""Who the client is: certificates, their paths and their revocation."""
