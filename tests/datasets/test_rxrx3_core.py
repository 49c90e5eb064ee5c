"""RxRx3-core: images in the rows of Parquet files, made here from what its card says."""

import imagecodecs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phenostream import datasets
from phenostream.datasets import rxrx3_core
from phenostream.errors import DamagedError, NotFoundError, TooLargeError


def image(seed, shape=(20, 24)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def encoded(pixels):
    return imagecodecs.jpeg2k_encode(pixels, reversible=True, level=0)


@pytest.fixture(params=["struct", "bytes"])
def files(request, tmp_path):
    """Two files; the channels of one site lie in both."""
    rows = []
    for at, well in enumerate(("A02", "AF07")):
        for channel in range(1, 7):
            rows.append((f"gene-001/Plate3/{well}_s1_{channel}", encoded(image(10 * at + channel))))  # noqa: PERF401
    paths = []
    for number, part in enumerate((rows[:8], rows[8:])):
        values = [{"bytes": data, "path": None} if request.param == "struct" else data for _, data in part]
        table = pa.table({"__key__": [key for key, _ in part], "jp2": values})
        paths.append(tmp_path / f"train-{number:05d}-of-00002.parquet")
        pq.write_table(table, paths[-1], row_group_size=3)
    return paths


def test_sites_are_put_together_from_their_rows(files, tmp_path):
    table = tmp_path / "metadata_rxrx3_core.csv"
    table.write_text(
        "well_id,experiment_name,plate,address,gene,treatment,SMILES,concentration,perturbation_type,cell_type\n"
        "gene-001_3_AF07,gene-001,3,AF07,MTOR,MTOR_guide_1,,,CRISPR,HUVEC\n"
    )
    found = rxrx3_core.fields(files, str(table))
    assert [(one.id.plate, one.id.well) for one in found] == [("gene-001_3", "A2"), ("gene-001_3", "AF7")]
    for at, one in enumerate(found):
        assert [channel.name for channel in one.channels] == ["DNA", "ER", "Actin", "RNA", "Mito", "Golgi"]
        assert np.array_equal(one.read(), np.stack([image(10 * at + channel) for channel in range(1, 7)]))
    assert found[1].annotation["gene"] == "MTOR"
    told = datasets.pack(found, tmp_path / "pack")
    assert (told.sites, told.findings) == (2, ())


def test_what_is_no_such_file_is_named(tmp_path):
    with pytest.raises(NotFoundError):
        rxrx3_core.fields([tmp_path / "none.parquet"])
    (tmp_path / "x.parquet").write_bytes(b"nothing")
    with pytest.raises(DamagedError):
        rxrx3_core.fields([tmp_path / "x.parquet"])
    pq.write_table(pa.table({"a": [1]}), tmp_path / "y.parquet")
    with pytest.raises(DamagedError, match="keys"):
        rxrx3_core.fields([tmp_path / "y.parquet"])


def test_a_damaged_image_and_a_false_claim_are_named(tmp_path):
    good = encoded(image(0))
    at = good.find(b"\xff\x4f\xff\x51")
    huge = good[: at + 8] + (1 << 20).to_bytes(4) + (1 << 20).to_bytes(4) + good[at + 16 :]
    cases = ((b"no image", DamagedError), (good[: at + 60], DamagedError), (huge, TooLargeError))
    for number, (data, error) in enumerate(cases):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"__key__": ["g-1/Plate1/A01_s1_1"], "jp2": [data]}), path)
        (one,) = rxrx3_core.fields([path])
        with pytest.raises(error):
            one.read()
