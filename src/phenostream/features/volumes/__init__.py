"""The families that are measured in three dimensions, one module each, under the names they have in two.

A module here offers what one of :mod:`phenostream.features.families` does and shares its settings, to which granularity
adds one; the others of that folder are defined in the plane only, as in CellProfiler.
"""
