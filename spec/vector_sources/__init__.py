"""The sources of the test vectors: one module per group of topics, each with a dict of topic to vectors.

Nothing here imports the package framelet, so that the vectors are evidence of their own.
"""
