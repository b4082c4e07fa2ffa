"""Framelet beside its peers and beside the limit: ``python -m benchmarks``, or ``make bench``."""
