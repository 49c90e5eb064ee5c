"""The ramp against matplotlib's own, and its order against lightness."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from skimage.color import rgb2lab

from phenostream.report import colours


def test_it_is_cividis():
    assert colours.ramp()[0] == mpl.colors.to_hex(mpl.colormaps["cividis"](0))
    assert colours.ramp()[255] == mpl.colors.to_hex(mpl.colormaps["cividis"](255))
    assert colours.table().shape == (256, 3)


def test_lightness_alone_tells_the_order():
    """What a reader without colour vision, or a grey print, sees."""
    lightness = rgb2lab(colours.table()[None] / 255)[0, :, 0]
    assert np.all(np.diff(lightness[::8]) > 0)


def test_the_gradient_runs_from_end_to_end():
    assert colours.gradient().startswith(f"linear-gradient(90deg,{colours.ramp()[0]},")
    assert colours.gradient().endswith(f"{colours.ramp()[255]})")
