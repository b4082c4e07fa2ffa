"""Ends: what comes together with the end of the stream, and what comes behind the server's."""
