"""Frames out and answers in, over one connection."""
