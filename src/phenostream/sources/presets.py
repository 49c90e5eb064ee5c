"""How common instruments and screens name their files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_UUID = r"(?:[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})"


@dataclass(frozen=True, slots=True)
class Preset:
    """One naming scheme.

    Attributes:
        example: a name of this scheme.
        pattern: as in `phenostream.sources.layout.Layout`.
        channels: the file's word for each channel, and its name, in order; empty: the words are the names.
        stains: stain of a channel's name, where the scheme fixes it.
        plate: how a plate's name is made of the parts of the file's name.
        time_from: number that the scheme gives the first time point.
        z_from: number that the scheme gives the first z plane.
    """

    example: str
    pattern: str
    channels: Mapping[str, str] = field(default_factory=dict)
    stains: Mapping[str, str] = field(default_factory=dict)
    plate: str = "{plate}"
    time_from: int = 1
    z_from: int = 1


_PHENIX = (
    r"r(?P<row>\d+)c(?P<column>\d+)f(?P<site>\d+)p(?P<z>\d+)(?:rc\d+)?"
    r"-ch(?P<channel>\d+)sk(?P<time>\d+)fk\d+fl\d+\.tiff?"
)

PRESETS: Mapping[str, Preset] = {
    # Recursion's RxRx1, official archive and cloud copies; plates are numbered within an experiment.
    "rxrx1": Preset(
        "HEPG2-01/Plate1/B02_s1_w1.png",
        "{experiment}/Plate{plate:d}/{well}_s{site:d}_w{channel:d}.png",
        {"1": "DNA", "2": "ER", "3": "Actin", "4": "RNA", "5": "Mito", "6": "Golgi"},
        {
            "DNA": "Hoechst",
            "ER": "Concanavalin A",
            "Actin": "Phalloidin",
            "RNA": "SYTO 14",
            "Mito": "MitoTracker",
            "Golgi": "WGA",
        },
        plate="{experiment}_{plate}",
    ),
    # Opera Phenix and Operetta, as Harmony exports them.
    "phenix": Preset("r01c01f01p01-ch1sk1fk1fl1.tiff", _PHENIX),
    # JUMP Cell Painting, source 4: a Phenix, one folder a plate.
    "jump": Preset(
        "BR00117006__2020-11-08T18_18_00-Measurement1/Images/r01c01f01p01-ch5sk1fk1fl1.tiff",
        r"(?P<plate>[^/]+?)(?:__[^/]*)?/Images/" + _PHENIX,
        {"5": "DNA", "4": "ER", "3": "RNA", "2": "AGP", "1": "Mito"},
    ),
    # ImageXpress (MetaXpress), thumbnails left out; BBBC021 is one of these.
    "imagexpress": Preset(
        "Week1_22123_A01_s1_w1E1A5F9C3-0C26-4C3D-A9B1-0A3B1C2D3E4F.tif",
        r"(?:TimePoint_(?P<time>\d+)/)?(?P<plate>[^/]+)_(?P<well>[A-Z]{1,2}\d{2})(?:_s(?P<site>\d+))?_w(?P<channel>\d+)"
        + _UUID
        + r"?\.(?:tif|TIF|tiff)",
    ),
    # CellProfiler's SBS example: a 96-well plate of cytoplasm-nucleus translocation, one field a well.
    "sbs": Preset("Channel2-01-A-01.tif", "Channel{channel:d}-{:d}-{row}-{column:d}.tif", {"2": "DNA", "1": "GFP"}),
    # Yokogawa CV7000 and CV8000.
    "yokogawa": Preset(
        "AssayPlate_Greiner_B02_T0001F001L01A01Z01C01.tif",
        "{plate}_{well}_T{time:d}F{site:d}L{:d}A{:d}Z{z:d}C{channel:d}.tif",
    ),
    # IN Cell Analyzer.
    "incell": Preset(
        "A - 01(fld 1 wv DAPI - DAPI).tif",
        r"(?P<row>[A-Z]{1,2}) - (?P<column>\d+)\(fld (?P<site>\d+) wv (?P<channel>[^)]+?)(?: - [^)]*)?\)\.tif",
    ),
    # ArrayScan (Cellomics) exports.
    "cellomics": Preset("AS_09125_050116030001_D03f00d0.tif", "{plate}_{well}f{site:d}d{channel:d}.tif"),
    # Cytation and Lionheart (Gen5).
    "cytation": Preset("B7_01_1_3_DAPI_001.tif", "{well}_{:d}_{:d}_{site:d}_{channel}_{time:d}.tif"),
}
