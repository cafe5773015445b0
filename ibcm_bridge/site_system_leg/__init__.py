"""The site-system leg: the last gate, the connection, and the checks of the response."""
