"""The load generator of ``framelet bench``; it knows nothing of the command line."""
