"""Metrics, one module each: a pure function, and a class with ``update`` (a batch) and ``compute`` (the value)."""
