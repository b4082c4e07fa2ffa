"""Sockets and waiting for them: pollers, timers, transport, addresses of peers."""
