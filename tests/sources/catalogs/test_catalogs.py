import pytest

from phenostream.errors import RecipeError
from phenostream.sources import catalogs


def test_the_folder_is_the_registry():
    assert {"folder", "datasource"} <= set(catalogs.known())


def test_an_unknown_catalog_is_refused_with_the_known_ones():
    with pytest.raises(RecipeError, match=r"'folders'.*folder"):
        catalogs.load("folders")


def test_a_source_without_catalog_is_refused():
    with pytest.raises(RecipeError, match=r"catalog: .*folder"):
        catalogs.parse({"path": "here"})


def test_an_unknown_key_is_named():
    with pytest.raises(RecipeError, match="patern"):
        catalogs.parse({"catalog": "folder", "base": ".", "patern": "x"})
