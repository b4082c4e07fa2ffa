"""Framelet beside its peers and beside the limit: ``python -m benchmarks``, or ``make bench``.

``peers`` has a module for each server and its client, ``native`` the limit and the load generator in C.
``rows`` says what is measured, ``suite`` measures it in turns, ``processes`` starts and pins what runs.
``lockstep`` has clients in this process, and ``calls`` counts the Python calls of a request.
``results`` reads what came out, ``targets`` judges it, ``page`` and ``plots`` show it.  ``guard`` is the
short check for a machine that builds.

A new peer is a module in ``peers`` and a line in its ``PEERS``; it takes the handler from its options.  A new
row is a ``Row`` in one of ``rows``, with ``twice()`` where a handler matters.
"""
