"""What foreign names mean."""

from __future__ import annotations

import pyarrow as pa
import pytest

from phenostream.features.presets import MITOCHECK_157
from phenostream.profiles.roles import column_of, described
from phenostream.values import Column, columns_of


@pytest.mark.parametrize(
    ("name", "role", "compartment", "family", "channel", "positional"),
    [
        ("Nuclei_AreaShape_Area", "feature", "Nuclei", "AreaShape", "", False),
        ("Nuclei_AreaShape_Center_X", "feature", "Nuclei", "AreaShape", "", True),
        ("AreaShape_Orientation", "feature", "", "AreaShape", "", True),
        ("CP__Texture_Entropy_DNA_3_00_256", "feature", "", "Texture", "DNA", False),
        ("Cells_Intensity_MeanIntensity_Corr_Actin", "feature", "Cells", "Intensity", "Corr_Actin", False),
        ("Cytoplasm_Texture_Variance_RNA_10_0", "feature", "Cytoplasm", "Texture", "RNA", False),
        ("Nuclei_RadialDistribution_MeanFrac_ER_2of4", "feature", "Nuclei", "RadialDistribution", "ER", False),
        ("Nuclei_Correlation_Manders_AGP_DNA", "feature", "Nuclei", "Correlation", "AGP_DNA", False),
        ("Nuclei_Neighbors_FirstClosestObjectNumber_5", "feature", "Nuclei", "Neighbors", "", True),
        ("Nuclei_Location_MaxIntensity_X_ER", "feature", "Nuclei", "Location", "ER", True),
        ("DP__efficientnet_1279", "feature", "", "efficientnet", "", False),
        ("Location_Center_X", "metadata", "", "Location", "", True),
        ("Metadata_Plate", "metadata", "", "", "", False),
        ("Image_Metadata_Well", "metadata", "", "", "", False),
        ("Image_FileName_DNA", "metadata", "Image", "FileName", "", False),
        ("Image_ImageQuality_FocusScore_DNA", "qc", "Image", "ImageQuality", "", False),
        ("Cells_Parent_Nuclei", "metadata", "Cells", "", "", False),
        ("Nuclei_Number_Object_Number", "metadata", "Nuclei", "", "", False),
        ("Nuclei_Metadata_Well", "metadata", "Nuclei", "", "", False),
        ("CP__Cells_Metadata_Site", "metadata", "Cells", "", "", False),
        ("ImageNumber", "metadata", "", "", "", False),
        ("Dose", "metadata", "", "", "", False),
    ],
)  # fmt: skip
def test_a_name(name, role, compartment, family, channel, positional):
    found = column_of(name)
    assert (found.role, found.compartment, found.family, found.channel, found.positional) == (
        role, compartment, family, channel, positional,
    )  # fmt: skip


def test_of_two_objects_that_begin_alike_the_longer_name_counts():
    found = column_of("Nuclei_Dividing_Metadata_Plate", compartments=("Nuclei", "Nuclei_Dividing"))
    assert (found.role, found.compartment) == ("metadata", "Nuclei_Dividing")
    assert column_of("Nuclei_Dividing_AreaShape_Area", compartments=("Nuclei", "Nuclei_Dividing")).family == "AreaShape"


def test_the_published_columns_are_features_and_nine_of_them_places():
    found = [column_of(name) for name in MITOCHECK_157]
    assert {column.role for column in found} == {"feature"}
    assert sum(column.positional for column in found) == 9


def test_text_is_no_feature_and_what_is_said_stays():
    table = pa.table({"Nuclei_AreaShape_Area": ["x"], "weight": [1.0], "other": [1.0]})
    roles = {column.name: column.role for column in columns_of(described(table, features=["weight"]).schema)}
    assert roles == {"Nuclei_AreaShape_Area": "metadata", "weight": "feature", "other": "metadata"}
    from phenostream.values import with_columns

    told = with_columns(table.select(["other"]), [Column("other", "qc")])
    assert columns_of(described(told).schema)[0].role == "qc"
