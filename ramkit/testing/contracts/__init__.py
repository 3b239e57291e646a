"""One suite a port, for those who write a backend or a middleware of their own."""
