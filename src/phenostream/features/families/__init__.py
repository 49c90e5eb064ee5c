"""The feature families, one file each; this folder is the registry.

A family is a module with four names:

* ``Settings``: a frozen pydantic model of its parameters, each with a default;
* ``VERSION``: an integer that grows whenever the same input gives other numbers;
* ``columns(settings, channels)``: what it measures, in order, as :class:`~phenostream.values.Column` without
  compartment;
* ``compute(scene, settings)``: the numbers, float64 (objects, columns), rows by ascending label.

A module may add ``BY_OBJECT = True``: an object's row does not depend on which others are in the scene, so that threads
may measure blocks of objects (:meth:`~phenostream.features.scene.Scene.part`) at the same time. Or ``SPREADS = True``:
it shares out its work itself (:meth:`~phenostream.features.scene.Scene.spread`), and is never called from a thread of
the pool.

An outside package offers one through the entry point group ``phenostream.measures``.
"""
