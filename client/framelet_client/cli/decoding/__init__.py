"""Streams of frames, taken apart and shown: ``framelet decode`` and ``--trace``."""
