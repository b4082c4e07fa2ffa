"""Running cases: the pytest plugin, selection, attempts and repeats."""
