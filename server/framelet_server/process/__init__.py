"""Processes around a server: signals, children, service managers."""
