"""The command ``framelet-conformance``."""
