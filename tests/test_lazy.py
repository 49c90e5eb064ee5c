"""Names that are looked up on first use: each package offers what it says, and says plainly what it has not."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from phenostream.lazy import on_first_use

PACKAGES = [
    "phenostream",
    "phenostream.benchmark",
    "phenostream.datasets",
    "phenostream.features",
    "phenostream.profiles",
    "phenostream.profiles.phenotypes",
    "phenostream.report",
    "phenostream.stream",
    "phenostream.synthetic",
]


@pytest.mark.parametrize("name", PACKAGES)
def test_every_name_that_a_package_offers_is_there_and_no_other(name: str) -> None:
    package = import_module(name)
    assert all(hasattr(package, word) for word in package.__all__)
    with pytest.raises(AttributeError, match=f"^module '{name}' has no attribute 'no_such_name'$"):
        _ = package.no_such_name


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    code = (
        "import sys; from phenostream.lazy import on_first_use\n"
        "look_up = on_first_use('xml', {'parse': 'dom.minidom'})\n"
        "print('xml' in sys.modules, look_up('parse').__module__)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert told.stdout.split() == ["False", "xml.dom.minidom"]


def test_a_module_that_is_missing_is_not_taken_for_a_missing_name() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        on_first_use("phenostream", {"word": "no_such_module"})("word")
