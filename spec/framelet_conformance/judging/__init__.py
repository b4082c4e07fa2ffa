"""Deciding whether what a peer did is right: expectations, comparison, and models of both peers."""
