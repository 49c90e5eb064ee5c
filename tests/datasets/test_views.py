"""Pictures of packs: what is drawn is what is in them."""

import numpy as np
import pytest

from phenostream.datasets import views
from phenostream.errors import ChannelMissingError, NotFoundError, RecipeError, WrongShapeError
from phenostream.images.stains import RXRX1, stained


def drawn(figure):
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


def test_a_grid_shows_every_channel_in_its_colour_and_all_together(pack):
    pictures = drawn(views.channel_grid(pack[0], pack.channels))
    assert len(pictures) == 7
    for picture, name in zip(pictures, pack.channels, strict=False):
        hue = picture[picture.sum(axis=2) > 100].mean(axis=0)
        colour = np.array(RXRX1[name].colour)
        assert np.corrcoef(hue, colour)[0, 1] > 0.99
    light = np.sum(pictures[:6], axis=0, dtype=float)
    assert np.corrcoef(pictures[6].ravel(), light.ravel())[0, 1] > 0.99
    assert (pictures[6] == 255).mean() < 0.02, "not white"


def test_channels_without_colours_are_grey(pack):
    pictures = drawn(views.channel_grid(pack[0][:2], ("A", "B")))
    assert len(pictures) == 2
    assert all((picture == picture[..., :1]).all() for picture in pictures)
    with pytest.raises(WrongShapeError):
        views.channel_grid(pack[0], ("A", "B"))


def test_channels_of_jump_are_in_colour_and_brightfield_is_not_mixed_in(pack):
    names = ("DNA", "ER", "AGP", "Brightfield")
    pictures = drawn(views.channel_grid(pack[0][:4], names))
    assert len(pictures) == 5
    orange, grey, together = pictures[2], pictures[3], pictures[4]
    assert (orange[..., 0] >= orange[..., 1]).all()
    assert orange[..., 0].max() > 2 * orange[..., 2].max()
    assert (grey == grey[..., :1]).all()
    light = np.sum(pictures[:3], axis=0, dtype=float)
    assert np.array_equal(together, np.rint(light * (255 / max(255.0, np.percentile(light, 99.8)))).clip(0, 255))


def test_a_composite_has_the_fixed_colours(pack):
    assert np.array_equal(views.composite(pack, 3), stained(pack[3], pack.channels))
    assert views.composite(pack, 3, show=("DNA",))[..., 1].max() == 0


def test_a_contact_sheet_shows_sites_of_each_value(pack):
    figure = views.contact_sheet(pack, "sirna_id", [0, 3], per=4)
    told = dict(zip(pack.table["site_id"].to_pylist(), pack.table["sirna_id"].to_pylist(), strict=True))
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    assert [told[title.rpartition("\n")[2]] for title in titles] == [0] * 4 + [3] * 4
    assert titles[0].startswith("0\n")
    again = views.contact_sheet(pack, "sirna_id", [0, 3], per=4)
    assert [axes.get_title() for axes in again.axes if axes.images] == titles
    assert len(drawn(views.contact_sheet(pack, "well_type", per=2, stains=RXRX1))) == 6
    with pytest.raises(RecipeError, match="'dose'"):
        views.contact_sheet(pack, "dose")
    with pytest.raises(NotFoundError, match="99"):
        views.contact_sheet(pack, "sirna_id", [99])


def test_a_plate_map_shows_the_mean_of_each_well(pack):
    plate = pack.table["plate"][0].as_py()
    axes = views.plate_map(pack, plate, "pixel_mean", channel="ER").axes[0]
    grid = axes.images[0].get_array()
    rows = [one.get_text() for one in axes.get_yticklabels()]
    columns = [one.get_text() for one in axes.get_xticklabels()]
    seen = 0
    for row in pack.table.to_pylist():
        if row["plate"] != plate:
            continue
        own = [k for k, one in enumerate(pack.table.to_pylist()) if (one["plate"], one["well"]) == (plate, row["well"])]
        value = grid[rows.index(row["well"][0]), columns.index(row["well"][1:])]
        assert value == pytest.approx(pack.read(own)[:, 1].mean())
        seen += 1
    assert seen
    assert (~np.ma.getmaskarray(grid)).sum() == len({r["well"] for r in pack.table.to_pylist() if r["plate"] == plate})
    for arguments, error in (
        (("nowhere", "pixel_mean"), NotFoundError),
        ((plate, "dose"), RecipeError),
        ((plate, "sirna"), RecipeError),
    ):
        with pytest.raises(error):
            views.plate_map(pack, *arguments)
    with pytest.raises(ChannelMissingError):
        views.plate_map(pack, plate, "pixel_mean", channel="GFP")
