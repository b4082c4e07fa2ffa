"""Clients that do not take their answers."""
