"""What a client may speak below its frames: a PROXY header, TLS."""
