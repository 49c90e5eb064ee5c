"""CellProfiler pipelines: what they measure is mapped, what is not is said."""

from __future__ import annotations

import pytest

from phenostream.errors import DamagedError
from phenostream.features.cppipe import parse_pipeline, read_pipeline

PIPELINE = r"""CellProfiler Pipeline: http://www.cellprofiler.org
Version:5
ModuleCount:5

Images:[module_num:1|enabled:True]
    :

MeasureObjectSizeShape:[module_num:2|enabled:True]
    Select object sets to measure:Nuclei, Cells
    Calculate the Zernike features?:No
    Calculate the advanced features?:Yes

MeasureTexture:[module_num:3|enabled:True]
    Select images to measure:DNA, Actin
    Select objects to measure:Nuclei
    Enter how many gray levels to measure the texture at:32
    Hidden:2
    Texture scale to measure:3
    Texture scale to measure:5

MeasureGranularity:[module_num:4|enabled:True]
    Select images to measure:DNA, Actin
    Select objects to measure:Nuclei
    Subsampling factor for granularity measurements:0.5
    Subsampling factor for background reduction:0.25
    Radius of structuring element:8
    Range of the granular spectrum:10

MeasureObjectIntensityDistribution:[module_num:5|enabled:True]
    Calculate intensity Zernikes?:Magnitudes only
    Maximum zernike moment:5
    Select images to measure:DNA
    Select objects to measure:Cells
    Object to use as center?:Centers of other objects
    Scale the bins?:Yes
    Number of bins:6
    Maximum radius:100

MeasureObjectNeighbors:[module_num:6|enabled:True]
    Select objects to measure:Nuclei
    Select neighboring objects to measure:Cells
    Method to determine neighbors:Adjacent

MeasureColocalization:[module_num:7|enabled:False]
    Select images to measure:DNA, Actin

MeasureObjectSkeleton:[module_num:8|enabled:True]
    Select the seed objects:Soma
    Select the skeletonized image:Neurites
    Retain the branchpoint image?:No
    Fill small holes?:Yes
    Maximum hole size:10

IdentifySecondaryObjects:[module_num:9|enabled:True]
    Select the input objects:Nuclei
    Select the method to identify the secondary objects:Watershed - Image
    Select the input image:Actin

MeasureImageQuality:[module_num:10|enabled:True]
    Calculate metrics for which images?:All loaded images
"""


def test_what_is_measured():
    nuclei, cells, soma = parse_pipeline(PIPELINE).measured
    assert (nuclei.objects, nuclei.channels) == ("Nuclei", ("DNA", "Actin"))
    assert nuclei.settings.families == ("size_shape", "feret", "texture", "granularity")
    assert nuclei.settings.parameters["texture"] == {"scales": [3, 5], "grey_levels": 32}
    assert nuclei.settings.parameters["granularity"]["radius"] == 8
    assert (cells.objects, cells.channels) == ("Cells", ("DNA",))
    assert cells.settings.parameters["size_shape"] == {"moments": True}
    assert cells.settings.parameters["radial_zernike"] == {"degree": 5, "phase": False}
    assert cells.settings.compartment == "Cells"
    assert (soma.objects, soma.channels, soma.settings.families) == ("Soma", ("Neurites",), ("skeleton",))
    for call in (nuclei, cells, soma):
        call.settings.plan()


def test_what_is_not_measured():
    unmapped = parse_pipeline(PIPELINE).unmapped
    assert [line.split(":")[0] for line in unmapped] == [
        "Images (module 1)",
        "MeasureObjectIntensityDistribution (module 5)",
        "MeasureObjectNeighbors (module 6)",
        "MeasureColocalization (module 7)",
        "MeasureObjectSkeleton (module 8)",
        "IdentifySecondaryObjects (module 9)",
        "MeasureImageQuality (module 10)",
    ]
    assert "`source`" in unmapped[0]
    assert "disabled" in unmapped[3]
    assert "holes" in unmapped[4]
    assert "not the same as Watershed - Image" in unmapped[5]
    assert "whole images" in unmapped[6]


def test_real_pipelines(data):
    human = read_pipeline(data / "fields" / "examplehuman" / "ExampleHuman.cppipe")
    assert [call.objects for call in human.measured] == ["Nuclei", "Cells", "Cytoplasm"]
    assert human.measured[0].channels == ("DNA", "PH3")
    assert {"size_shape", "intensity", "zernike", "feret"} == set(human.measured[0].settings.families)
    told = {line.split(" (")[0]: line for line in human.unmapped}
    assert "{cells: {method: propagate, channel: cellbody, regularization: 0.05}}" in told["IdentifySecondaryObjects"]
    assert "{cells: {rim: true}}" in told["IdentifyTertiaryObjects"]
    fly = read_pipeline(data / "fields" / "examplefly" / "ExampleFly.cppipe")
    assert any("Gabor" in line for line in fly.unmapped)
    neighbors = next(call for call in fly.measured if "neighbors" in call.settings.families)
    assert neighbors.settings.parameters["neighbors"] == {"method": "within", "distance": 4}


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "not.cppipe"
    path.write_text("hello")
    with pytest.raises(DamagedError, match="does not begin"):
        read_pipeline(path)
