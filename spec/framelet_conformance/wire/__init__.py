"""One connection with a peer: its octets, its log and its bounds of time."""
