"""One module a segmenter: ``Settings`` and ``build(settings)``. The module's name is its name in recipes."""
