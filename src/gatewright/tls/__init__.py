"""TLS at both ends: certificates, contexts made of them, and what went wrong in words. No sockets, no processes."""
