"""Export formats, one module each: ``Settings`` and ``write(run, out, settings)``."""
