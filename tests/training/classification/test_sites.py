"""Sites and their labels against the pack itself."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from phenostream import datasets
from phenostream.errors import ChannelMissingError, EmptyError, LeakageError, NotFoundError, RecipeError
from phenostream.training.classification.sites import open_sites, plate_moments, reasons
from phenostream.training.classification.splits import SplitSettings

HELD = SplitSettings(train={"dataset": "train"}, keep={"dataset": "test"})


def opened(packed: Path, **told: object) -> object:
    given = {"label": "sirna_id", "where": {}, "channels": (), "condition": "", "division": HELD, **told}
    return open_sites(str(packed), **given)


def test_labels_are_places_among_the_classes(packed: Path) -> None:
    sites = opened(packed, condition="cell_type")
    given = sites.pack.table["sirna_id"].to_pylist()
    assert sites.classes == ("0", "1", "2", "3", "4", "5")
    assert [sites.classes[place] for place in sites.labels] == [str(one) for one in given]
    assert sites.conditions == ("HUVEC", "RPE")
    kinds = sites.pack.table["cell_type"].to_pylist()
    assert [sites.conditions[place] for place in sites.condition] == kinds


def test_channels_come_in_the_order_asked_for(packed: Path) -> None:
    sites = opened(packed, channels=("Mito", "DNA"))
    assert sites.channels.tolist() == [4, 0]
    assert sites.names == ("Mito", "DNA")


def test_moments_are_those_of_the_pixels(packed: Path) -> None:
    sites = opened(packed)
    pixels = sites.pack.read(sites.train).astype(float)
    mean, std = sites.moments()
    np.testing.assert_allclose(mean, pixels.mean((0, 2, 3)), rtol=1e-9)
    np.testing.assert_allclose(std, pixels.std((0, 2, 3)), rtol=1e-9)


def test_plate_moments_are_those_of_the_plates_pixels(pack: datasets.Pack) -> None:
    plates = np.array(pack.table["plate"].to_pylist())
    found = plate_moments(pack.table, [0, 5])
    for plate in set(plates):
        pixels = np.stack([pack[int(row)][[0, 5]] for row in np.flatnonzero(plates == plate)]).astype(float)
        expected = [*pixels.mean((0, 2, 3)), *pixels.std((0, 2, 3))]
        np.testing.assert_allclose(found[plates == plate], np.tile(expected, ((plates == plate).sum(), 1)), rtol=1e-5)


def test_sites_at_fault_do_not_count_in_the_moments_of_their_plate(pack: datasets.Pack) -> None:
    table = pack.table
    known = np.arange(len(pack)) % 5 > 0
    for name in ("pixel_mean", "pixel_std"):
        given = [one if good else None for one, good in zip(table[name].to_pylist(), known, strict=True)]
        table = table.set_column(table.column_names.index(name), name, pa.array(given, table.schema.field(name).type))
    fault = pa.array([None if good else "damaged" for good in known], pa.string())
    table = table.set_column(table.column_names.index("fault"), "fault", fault)
    assert set(reasons(table)[~known].tolist()) == {"damaged"}
    expected = plate_moments(pack.table.filter(known), [0, 5])
    np.testing.assert_array_equal(plate_moments(table, [0, 5])[known], expected)


def test_a_class_that_is_not_learnt_is_left_out_and_counted(packed: Path) -> None:
    division = SplitSettings(train={"dataset": "train", "sirna_id": (0, 1, 2)}, keep={"dataset": "test"})
    sites = opened(packed, division=division)
    assert sites.classes == ("0", "1", "2")
    assert set(sites.labels[sites.keep].tolist()) == {0, 1, 2}
    whole = len(opened(packed).keep)
    assert sites.left_out == whole - len(sites.keep) > 0


def test_bad_input_is_named(packed: Path) -> None:
    with pytest.raises(ChannelMissingError, match=r"no channel 'GFP'.*DNA, ER"):
        opened(packed, channels=("GFP",))
    with pytest.raises(NotFoundError, match="no column 'compound'"):
        opened(packed, label="compound")
    with pytest.raises(NotFoundError, match="no column 'tissue'"):
        opened(packed, condition="tissue")
    with pytest.raises(EmptyError, match="no site has well_type empty"):
        opened(packed, where={"well_type": "empty"})
    with pytest.raises(RecipeError, match="all sites to learn from have cell_type 'RPE'"):
        opened(packed, label="cell_type", where={"cell_type": "RPE"})
    strange = SplitSettings(train={"dataset": "train", "sirna_id": (0, 1)}, keep={"dataset": "test", "sirna_id": 2})
    with pytest.raises(EmptyError, match="share no sirna_id"):
        opened(packed, division=strange)
    with pytest.raises(LeakageError, match="experiment"):
        opened(packed, division=SplitSettings(train={"site": 1}, keep={"site": 2}))
    with pytest.raises(NotFoundError, match="no finished pack"):
        open_sites(str(packed / "none"), label="sirna_id", where={}, channels=(), condition="", division=HELD)
