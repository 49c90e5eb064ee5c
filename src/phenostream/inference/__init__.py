"""Model packages: found, verified, and run on images of any size by ONNX Runtime.

No pickle is ever read, and nothing of a package is loaded before its hashes and its graph have been looked through.
"""

from phenostream.inference.checkpoints import read_checkpoint
from phenostream.inference.description import Description
from phenostream.inference.limits import Limits
from phenostream.inference.model import Model, load
from phenostream.inference.moving import export_package, import_package
from phenostream.inference.package import Package, open_package
from phenostream.inference.proof import Check, prove, read_weights
from phenostream.inference.shelves import find, names, places, user_folder
from phenostream.inference.writing import Image, Output, write_package

__all__ = [
    "Check",
    "Description",
    "Image",
    "Limits",
    "Model",
    "Output",
    "Package",
    "export_package",
    "find",
    "import_package",
    "load",
    "names",
    "open_package",
    "places",
    "prove",
    "read_checkpoint",
    "read_weights",
    "user_folder",
    "write_package",
]
