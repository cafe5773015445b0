"""OpenSSL contexts and verification for both legs."""
