"""Foreign tables, one format a module: ``Settings``, ``recognises(path)`` and ``read(path, settings) -> Source``."""
