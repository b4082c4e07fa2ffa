"""The command ``framelet-server``."""
