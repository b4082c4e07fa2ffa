"""One client: its session, whose turn it is, and how it ends."""
