"""The cases: what is asked of servers, what is asked of clients, and what both kinds share."""
