"""Processes around a server: signals, supervision, service managers."""
