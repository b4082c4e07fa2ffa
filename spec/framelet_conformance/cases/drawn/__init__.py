"""How generated conversations are drawn: imported when one is, because Hypothesis takes long to import."""
