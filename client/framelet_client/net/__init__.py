"""A connection to a server that is ready for frames: connecting, TLS handshake."""
