"""Errors cross process borders whole, whatever caused them."""

from __future__ import annotations

import copyreg
import pickle

import pytest
from tblib import pickling_support

from phenostream.errors import DamagedError


class UnrevivableError(Exception):
    """An error whose constructor wants more than `pickle` gives it, as compiled libraries' often do."""

    def __init__(self, function, code):
        super().__init__(f"{function} returned {code}")


def damaged():
    error = DamagedError("a chunk does not inflate", remedy="fetch it again").at(plate="P1")
    error.__cause__ = UnrevivableError("inflate", -3)
    return error


@pytest.fixture
def _as_dask_pickles():
    before = dict(copyreg.dispatch_table)
    pickling_support.install()
    copyreg.dispatch_table.pop(UnrevivableError)  # it knows only the classes that were loaded before
    yield
    copyreg.dispatch_table.clear()
    copyreg.dispatch_table.update(before)


@pytest.mark.usefixtures("_as_dask_pickles")
def test_alone_an_error_survives_the_way_dask_pickles():
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(damaged()))
    back = pickle.loads(pickle.dumps(damaged().alone()))
    assert (str(back), back.place, back.__cause__) == ("a chunk does not inflate (fetch it again)", "plate P1", None)


def test_alone_says_the_same():
    error = damaged()
    assert (type(error.alone()), str(error.alone()), error.alone().place) == (type(error), str(error), error.place)
