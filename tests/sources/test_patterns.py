import re

import pytest

from phenostream.errors import RecipeError
from phenostream.sources.patterns import compiled
from phenostream.sources.presets import PRESETS


def parts(pattern, key):
    found = compiled(pattern).fullmatch(key)
    return found and found.groupdict()


@pytest.mark.parametrize(
    ("pattern", "key", "expected"),
    [
        (
            "{plate}/{well}_s{site}_w{channel}.tif",
            "P1/A04_s2_w1.tif",
            {"plate": "P1", "well": "A04", "site": "2", "channel": "1"},
        ),
        ("{plate}_{well}.tif", "BR_01_A04.tif", {"plate": "BR_01", "well": "A04"}),
        ("{well}.tif", "deep/er/A4.tif", {"well": "A4"}),
        ("{plate:d}/*/{well}.tif", "7/x y/A4.tif", {"plate": "7", "well": "A4"}),
        ("{plate}/**/{well}.tif", "7/x/y/A4.tif", {"plate": "7", "well": "A4"}),
        ("{well}_*.tif", "A4_whatever(1).tif", {"well": "A4"}),
        ("{plate}/{plate}_{well}.tif", "P/P_A1.tif", {"plate": "P", "well": "A1"}),
        (r"(?P<well>[A-H]\d\d)[.]tif", "x/B03.tif", {"well": "B03"}),
        ("{well}+[1].tif", "A4+[1].tif", {"well": "A4"}),
        ("{well}_{:d}.tif", "A4_77.tif", {"well": "A4"}),
    ],
)
def test_patterns_read_names(pattern, key, expected):
    assert parts(pattern, key) == expected


@pytest.mark.parametrize(
    ("pattern", "key"),
    [
        ("{plate:d}/{well}.tif", "P7/A4.tif"),
        ("{well}.tif", "A4.tif.bak"),
        ("{well}.tif", "xA4_tif"),
        ("{plate}/{plate}_{well}.tif", "P/Q_A1.tif"),
        ("{plate}/{well}.tif", "A4.tif"),
        ("a*/{well}.tif", "a/b/c/A4.tif"),
    ],
)
def test_patterns_refuse_other_names(pattern, key):
    assert parts(pattern, key) is None


@pytest.mark.parametrize("pattern", ["(?P<well>", "no parts.tif", "(?P<we ll>a)"])
def test_patterns_that_say_nothing_are_refused(pattern):
    with pytest.raises(RecipeError, match="pattern"):
        compiled(pattern)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_reads_its_example(name):
    preset = PRESETS[name]
    found = parts(preset.pattern, preset.example)
    assert found is not None
    assert "channel" in found
    assert not preset.channels or found["channel"] in preset.channels
    assert set(preset.stains) <= set(preset.channels.values())
    assert set(re.findall(r"{(\w+)}", preset.plate)) - {"plate"} <= found.keys()
