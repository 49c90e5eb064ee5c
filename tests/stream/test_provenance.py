"""What a run folder says of where its numbers come from."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from phenostream.stream import Recipe
from phenostream.stream.provenance import provenance

if TYPE_CHECKING:
    from pathlib import Path


def test_every_local_table_is_hashed_joined_ones_too(tmp_path: Path) -> None:
    """A plan that is kept would otherwise outlive a change of what lies in the wells."""
    images, wells = tmp_path / "load_data.csv", tmp_path / "well.csv"
    images.write_text("Metadata_Plate,Metadata_Well,FileName_OrigDNA\nP1,A01,a.tif\n")
    wells.write_text("Metadata_Plate,Metadata_Well,Metadata_JCP2022\nP1,A01,JCP2022_033924\n")
    joins = [{"table": str(wells), "by": ["plate", "well"]}]
    source = {"catalog": "load_data", "base": "s3://bucket/x", "table": str(images), "metadata": joins}
    told = provenance(Recipe.load({"source": source, "segment": {"model": "classical", "channel": "DNA"}}))
    assert told["inputs"] == {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in (images, wells)}
