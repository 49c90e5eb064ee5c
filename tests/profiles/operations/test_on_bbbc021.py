"""Operations on real wells: the reported accuracy of the reported recipe."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from phenostream.profiles.operating import operate
from phenostream.profiles.reading import read_foreign
from phenostream.profiles.tables import feature_names


def test_not_same_compound_accuracy(data):
    """Z-score on DMSO per plate, mean of replicates, correlation; compared with a plain computation in pandas."""
    folder = data / "fields" / "profiles_bbbc021"
    wells = read_foreign(folder / "ljosa_jbiomolscreen_2013_per_well_mean.csv.gz")
    images = pd.read_csv(folder / "BBBC021_v1_image.csv.gz").rename(
        columns=lambda name: name.replace("Image_Metadata_", "")
    )
    images = images[["Plate_DAPI", "Well_DAPI", "Compound", "Concentration"]].drop_duplicates()
    mechanisms = pd.read_csv(folder / "BBBC021_v1_moa.csv").set_index(["compound", "concentration"])["moa"]
    keys = {"Image_Metadata_Plate": "Plate_DAPI", "Image_Metadata_Well": "Well_DAPI"}
    told = operate(
        wells, "annotate", table=pa.Table.from_pandas(images, preserve_index=False), match=keys,
        wells=["Image_Metadata_Well"],
    )  # fmt: skip
    controls = {"Metadata_Compound": "DMSO"}
    plates = ["Image_Metadata_Plate"]
    normal = operate(told.source, "normalise", by=plates, controls=controls)
    kept = operate(normal.source, "select", rules=["missing"], missing=0)
    found = operate(kept.source, "consensus", by=["Metadata_Compound", "Metadata_Concentration"], method="mean").table()
    moa = [mechanisms.get((row["Metadata_Compound"], row["Metadata_Concentration"])) for row in found.to_pylist()]
    known = np.array([one not in (None, "DMSO") for one in moa])
    compound = np.array(found["Metadata_Compound"].to_pylist())[known]
    values = np.column_stack([found[name].to_numpy() for name in feature_names(found.schema)])[known]
    alike = np.corrcoef(values)
    alike[compound[:, None] == compound[None]] = -np.inf
    truth = np.array(moa, dtype=object)[known]
    assert known.sum() == 103
    assert (truth[alike.argmax(axis=1)] == truth).sum() == 85
