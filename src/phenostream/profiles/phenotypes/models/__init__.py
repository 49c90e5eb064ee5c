"""Models, one module each: ``Settings``, ``path`` (fit every candidate), ``decide`` (arrays in, decision values out).

A model is nothing but named arrays, so that a package of it needs no pickle.
"""
