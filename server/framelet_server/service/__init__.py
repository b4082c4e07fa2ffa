"""The program's part of the service: its handlers, and what calls them."""
