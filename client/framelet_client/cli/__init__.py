"""The command ``framelet``."""
