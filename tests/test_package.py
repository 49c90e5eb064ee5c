"""The package as its users meet it: a quick import, a stable front, no stray words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import phenostream

SOURCE = Path(phenostream.__file__).parent


def test_the_front_is_what_was_promised() -> None:
    promised = {"segment", "measure", "embed", "fit_illumination", "run", "read_profiles", "__version__"}
    assert promised <= set(phenostream.__all__)
    assert all(callable(getattr(phenostream, name)) for name in promised - {"__version__"})
    assert set(phenostream.__all__) <= set(dir(phenostream))


def test_importing_is_quick_and_brings_no_heavy_library() -> None:
    heavy = {"numpy", "pyarrow", "scipy", "skimage", "numba", "zarr"}
    code = f"import sys, phenostream; print(sorted({heavy} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert told.stdout.strip() == "[]"  # the promise is half a second: this is what keeps it


def test_types_are_shipped() -> None:
    assert (SOURCE / "py.typed").is_file()


def test_the_base_never_imports_what_lives_in_extras() -> None:
    extras = {"torch", "cellpose", "stardist", "tensorflow", "anndata", "distributed", "moto"}
    code = (
        "import sys, pkgutil, importlib, phenostream\n"
        "skip = ('phenostream.testing', 'phenostream.__main__', 'phenostream.training',"
        " 'phenostream.datasets.loading.tensors')\n"
        "for module in pkgutil.walk_packages(phenostream.__path__, 'phenostream.'):\n"
        "    if not module.name.startswith(skip): importlib.import_module(module.name)\n"
        f"print(sorted({extras} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert told.stdout.strip() == "[]", told.stderr
