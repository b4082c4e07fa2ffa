"""The cases against servers."""
