"""The cases for clients; pytest collects each function whose name begins with ``case_``."""
