"""The illumination fit against published reference results, known truth, scikit-image, and hostile files."""

from __future__ import annotations

import io
import os
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter
from skimage.transform import resize as skimage_resize

from phenostream.errors import (
    DamagedError,
    EmptyError,
    HostileError,
    NotFoundError,
    OutOfRangeError,
    TooLargeError,
    WrongDtypeError,
    WrongShapeError,
)
from phenostream.images import (
    VERSION,
    BasicOptions,
    IlluminationModel,
    IlluminationSettings,
    fit_illumination,
    shrink,
)
from phenostream.images import _archive as archive_module

REFERENCES = ["timelapse_brightfield", "timelapse_pu1"]


def vignette(rows, columns):
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    flat = 1 - 0.35 * ((x - 0.15) ** 2 + (y + 0.1) ** 2) + 0.08 * x
    return flat / flat.mean()


def scene(frames=40, rows=96, columns=128, *, dark=0.0, spread=0.3, seed=0):
    """Frames of soft blobs over a varying background, under a known flat-field over a known offset."""
    rng = np.random.default_rng(seed)
    flat = vignette(rows, columns)
    stack = np.empty((frames, rows, columns))
    for frame in stack:
        blobs = np.zeros((rows, columns))
        count = rng.poisson(30)
        blobs[rng.integers(0, rows, count), rng.integers(0, columns, count)] = rng.lognormal(0, 0.4, count)
        light = 300 * np.exp(rng.normal(0, spread)) + 12_000 * gaussian_filter(blobs, 2.5)
        frame[:] = rng.poisson(light * flat + dark) + rng.normal(0, 2, (rows, columns))
    return np.clip(np.rint(stack), 0, 65535).astype(np.uint16), flat


@pytest.fixture(scope="module")
def small():
    return scene(8, 48, 64)[0]


@pytest.fixture(scope="module")
def model(small):
    return fit_illumination(small, working_size=32)


def correlation(a, b):
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def difference(a, b):
    return float(np.abs((a - b) / b).mean())


@pytest.mark.parametrize("darkfield", [False, True])
@pytest.mark.parametrize("name", REFERENCES)
def test_equals_the_reference_implementation(data, name, darkfield):
    images = np.load(data / "illumination" / f"{name}.npz")["images"]
    reference = np.load(data / "illumination" / f"{name}_pybasic_reference.npz")
    suffix = "" if darkfield else "_flatonly"
    fitted = fit_illumination(images, darkfield)
    flat = reference[f"flatfield{suffix}"]
    assert fitted.flatfield.shape == images.shape[1:]
    assert correlation(fitted.flat, flat) >= 0.9999
    assert difference(fitted.flat, flat) <= (0.006 if darkfield else 0.0005)
    assert difference(fitted.baseline, reference[f"baseline{suffix}"]) <= 0.01
    dark = reference[f"darkfield{suffix}"]
    if darkfield:
        assert correlation(fitted.dark, dark) >= 0.999
        assert np.abs(fitted.dark - dark).mean() <= 0.06 * np.abs(dark).mean()
    else:
        assert not fitted.dark.any()


def test_finds_a_known_flatfield():
    stack, flat = scene()
    fitted = fit_illumination(stack, False)
    assert fitted.flatfield.mean() == pytest.approx(1, abs=1e-6)
    assert correlation(fitted.flatfield, flat) > 0.98
    assert np.sqrt(np.mean((fitted.flatfield - flat) ** 2)) < 0.03


def test_finds_a_known_offset_where_brightness_varies():
    stack, flat = scene(dark=300)
    with_dark, without = fit_illumination(stack), fit_illumination(stack, False)
    assert with_dark.darkfield.mean() == pytest.approx(300, rel=0.15)
    error, blind = (np.sqrt(np.mean((one.flatfield - flat) ** 2)) for one in (with_dark, without))
    assert error < 0.5 * blind


def test_correction_evens_the_field_and_keeps_its_brightness():
    stack, _ = scene()
    corrected = fit_illumination(stack, False).apply(stack)
    before, after = (np.median(one, axis=0) for one in (stack, corrected))
    assert after.std() / after.mean() < 0.4 * before.std() / before.mean()
    assert corrected.mean() == pytest.approx(stack.mean(), rel=0.02)


def test_a_fit_of_shrunk_frames_equals_the_fit_of_full_ones(small):
    full = fit_illumination(small, working_size=32)
    shrunk = fit_illumination(np.stack([shrink(one, 32) for one in small]), working_size=32, shape=small.shape[1:])
    assert full == shrunk
    assert hash(full) == hash(shrunk)
    assert full.to_bytes() == shrunk.to_bytes()


def test_the_order_of_frames_changes_nothing_but_the_baseline(small):
    turned = fit_illumination(small[::-1], working_size=32)
    straight = fit_illumination(small, working_size=32)
    # Means of reordered frames are summed in another order.
    np.testing.assert_allclose(turned.flat, straight.flat, atol=1e-4)
    np.testing.assert_allclose(turned.baseline[::-1], straight.baseline, rtol=1e-3)


@pytest.mark.parametrize("darkfield", [False, True])
def test_the_flatfield_does_not_depend_on_the_unit_of_intensity(darkfield):
    stack = scene(16, 64, 64, dark=100)[0]
    one, other = (fit_illumination(stack * factor, darkfield, working_size=64) for factor in (1.0, 250.0))
    np.testing.assert_allclose(other.flat, one.flat, atol=1e-4)
    np.testing.assert_allclose(other.dark / 250, one.dark, atol=0.1)
    np.testing.assert_allclose(other.baseline / 250, one.baseline, rtol=1e-4)


@pytest.mark.parametrize("shape", [(64, 64), (100, 171), (640, 512), (20, 300)])
@pytest.mark.parametrize("side", [16, 128])
def test_shrink_is_scikit_images_resize(shape, side):
    image = np.random.default_rng(1).integers(0, 4096, shape).astype(np.uint16)
    expected = skimage_resize(
        image.astype(float), (side, side), order=1, mode="symmetric", preserve_range=True, anti_aliasing=True
    )
    np.testing.assert_allclose(shrink(image, side), expected, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "int16", "int32", "uint64", "int64", "float16", "float32", "float64"]
)
def test_apply_keeps_dtype_and_shape(model, dtype):
    image = np.full((2, 48, 64), 100, dtype)
    corrected = model.apply(image)
    assert corrected.dtype == image.dtype
    assert corrected.shape == image.shape
    expected = (100 - model.darkfield.astype(float)) / model.flatfield
    if image.dtype.kind in "iu":
        limits = np.iinfo(dtype)
        expected = np.clip(np.rint(expected), limits.min, limits.max)
    np.testing.assert_allclose(corrected[0].astype(float), expected, atol=1.01 if image.dtype.kind in "iu" else 0.6)


def test_apply_rounds_and_clips_integers():
    measured = IlluminationModel.of(np.array([[0.5, 1.5], [1.0, 1.0]]), np.array([[0, 0], [300, 0]]))
    corrected = measured.apply(np.array([[200, 200], [200, 7]], np.uint8))
    np.testing.assert_array_equal(corrected, [[255, 133], [0, 7]])
    biggest = np.full((2, 2), np.iinfo(np.int64).max)
    assert (measured.apply(biggest) > 0).all()


def test_apply_can_take_out_the_drift_of_a_time_lapse():
    measured = IlluminationModel.of(np.ones((2, 2)), baseline=np.array([100.0, 120.0]))
    image = np.full((2, 2), 120.0)
    np.testing.assert_allclose(measured.apply(image), 120)
    np.testing.assert_allclose(measured.apply(image, frame=1), 110)
    with pytest.raises(OutOfRangeError):
        measured.apply(image, frame=2)


def test_a_dead_corner_of_the_flatfield_does_not_explode():
    measured = IlluminationModel.of(np.array([[0.0, 1.0], [1.0, 1.0]]))
    assert np.isfinite(measured.apply(np.ones((2, 2)))).all()


@given(
    hnp.arrays(np.uint16, (3, 16, 16), elements=st.integers(0, 65535)),
    st.booleans(),
)
@settings(max_examples=15, deadline=None)
def test_any_frames_give_finite_fields(frames, darkfield):
    fitted = fit_illumination(frames, darkfield, working_size=16, options=BasicOptions(reweightings=3))
    for one in (fitted.flatfield, fitted.darkfield, fitted.baseline):
        assert np.isfinite(one).all()
    assert fitted.flatfield.mean() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("value", [0, 7, 65535])
@pytest.mark.parametrize("frames", [1, 3])
def test_frames_without_structure_have_a_flat_flatfield(value, frames):
    fitted = fit_illumination(np.full((frames, 20, 30), value, np.uint16))
    np.testing.assert_array_equal(fitted.flatfield, 1)
    np.testing.assert_array_equal(fitted.darkfield, 0)
    np.testing.assert_allclose(fitted.baseline, value)


def test_one_frame_is_enough():
    fitted = fit_illumination(scene(1)[0])
    assert np.isfinite(fitted.flatfield).all()


@pytest.mark.parametrize(
    ("stack", "error"),
    [
        (np.zeros((0, 8, 8)), EmptyError),
        (np.zeros((2, 0, 8)), EmptyError),
        (np.zeros((8, 8)), WrongShapeError),
        (np.zeros((2, 2, 8, 8)), WrongShapeError),
        (np.full((2, 8, 8), np.nan), DamagedError),
        (np.full((2, 8, 8), np.inf), DamagedError),
        (np.linspace(-2, -1, 128).reshape(2, 8, 8), DamagedError),
        (np.zeros((2, 8, 8), complex), WrongDtypeError),
        (np.zeros((2, 8, 8), bool), WrongDtypeError),
    ],
)
def test_frames_that_cannot_be_fitted_are_refused(stack, error):
    with pytest.raises(error):
        fit_illumination(stack)


def test_shape_is_for_shrunk_frames_only():
    with pytest.raises(WrongShapeError, match="already shrunk"):
        fit_illumination(np.ones((2, 20, 20)), shape=(40, 40))


def test_images_that_do_not_fit_are_refused(model):
    with pytest.raises(WrongShapeError):
        model.apply(np.zeros((64, 48)))
    with pytest.raises(WrongShapeError):
        model.apply(np.zeros(64))
    with pytest.raises(WrongDtypeError):
        model.apply(np.zeros((48, 64), bool))
    for image, error in (
        (np.zeros(4), WrongShapeError),
        (np.zeros((0, 4)), EmptyError),
        (np.zeros((2, 2), bool), WrongDtypeError),
    ):
        with pytest.raises(error):
            shrink(image)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ((np.ones(4),), WrongShapeError),
        ((np.ones((2, 2)), np.ones((2, 3))), WrongShapeError),
        ((np.zeros((2, 2)),), DamagedError),
        ((np.full((2, 2), np.nan),), DamagedError),
    ],
)
def test_measured_fields_are_checked(fields, error):
    with pytest.raises(error):
        IlluminationModel.of(*fields)


def test_saved_and_loaded_it_is_the_same(tmp_path, model):
    path = model.save(tmp_path / "model.npz")
    first = path.read_bytes()
    model.save(path)
    assert path.read_bytes() == first
    assert os.listdir(tmp_path) == ["model.npz"]
    loaded = IlluminationModel.load(path)
    assert loaded == model
    assert loaded.digest == model.digest
    np.testing.assert_array_equal(loaded.flatfield, model.flatfield)
    with np.load(path, allow_pickle=False) as plain:  # NumPy's own reader is the witness
        np.testing.assert_array_equal(plain["flatfield"], model.flat)
        assert tuple(plain["shape"]) == model.shape


def test_models_of_other_content_differ(model):
    other = IlluminationModel(model.flat, model.dark, model.baseline, (48, 65))
    assert other != model
    assert model != "model"
    assert other.digest != model.digest


def test_every_changed_byte_of_content_is_noticed(model):
    whole = model.to_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 60):
        broken = bytearray(whole)
        broken[place] ^= 0x55
        try:
            loaded = IlluminationModel.from_bytes(bytes(broken))
        except (DamagedError, TooLargeError, HostileError):
            continue
        assert loaded == model  # a byte that carries no content, such as a time stamp


@pytest.mark.parametrize("keep", [0, 1, 30, 0.5, 0.99])
def test_a_truncated_model_is_refused(model, keep):
    whole = model.to_bytes()
    with pytest.raises(DamagedError):
        IlluminationModel.from_bytes(whole[: int(keep * len(whole)) if keep < 1 else keep])


def packed(arrays, *, pickled=()):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, values in arrays.items():
            raw = io.BytesIO()
            np.lib.format.write_array(raw, values, allow_pickle=name in pickled)
            archive.writestr(f"{name}.npy", raw.getvalue())
    return buffer.getvalue()


class Bomb:
    def __reduce__(self):
        return os.abort, ()


def test_pickles_are_never_opened(model):
    arrays = {"flatfield": np.array([Bomb()], object), "darkfield": model.dark, "baseline": model.baseline}
    arrays |= {"shape": np.array([1, 1]), "digest": np.zeros(32, np.uint8)}
    with pytest.raises(HostileError):
        IlluminationModel.from_bytes(packed(arrays, pickled=("flatfield",)))
    with pytest.raises(DamagedError):
        IlluminationModel.from_bytes(pickle.dumps({"flatfield": 1}))


def resealed(**changes):
    arrays = {
        "flatfield": np.ones((4, 4), np.float32), "darkfield": np.zeros((4, 4), np.float32),
        "baseline": np.zeros(2, np.float32), "shape": np.array([8, 8]),
    }  # fmt: skip
    return archive_module.pack(arrays | changes)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"shape": np.array([8])}, DamagedError),
        ({"shape": np.array([8, -8])}, DamagedError),
        ({"shape": np.array([1 << 40, 8])}, TooLargeError),
        ({"shape": np.array([8.0, 8.0])}, DamagedError),
        ({"flatfield": np.ones((4, 5), np.float32)}, DamagedError),
        ({"flatfield": np.ones((4, 4), np.float64)}, DamagedError),
        ({"flatfield": np.full((4, 4), np.nan, np.float32)}, DamagedError),
        ({"baseline": np.ones((1, 1), np.float32)}, DamagedError),
        ({"more": np.ones(1)}, DamagedError),
    ],
)
def test_models_that_contradict_themselves_are_refused(changes, error):
    assert IlluminationModel.from_bytes(resealed()).shape == (8, 8)
    with pytest.raises(error):
        IlluminationModel.from_bytes(resealed(**changes))


def test_another_hash_is_refused():
    arrays = {"flatfield": np.ones((4, 4), np.float32), "darkfield": np.zeros((4, 4), np.float32)}
    arrays |= {"baseline": np.zeros(2, np.float32), "shape": np.array([8, 8]), "digest": np.zeros(32, np.uint8)}
    with pytest.raises(DamagedError, match="hash"):
        IlluminationModel.from_bytes(packed(arrays))


def test_claims_are_capped_before_memory_is_taken(monkeypatch):
    payload = resealed()
    monkeypatch.setattr(archive_module, "MAX_BYTES", 1 << 16)
    assert IlluminationModel.from_bytes(payload).shape == (8, 8)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("flatfield", "darkfield", "baseline", "shape", "digest"):
            archive.writestr(f"{name}.npy", bytes(1 << 20))
    assert len(bomb.getvalue()) < 1 << 16
    with pytest.raises(TooLargeError, match="claims"):
        IlluminationModel.from_bytes(bomb.getvalue())
    monkeypatch.setattr(archive_module, "MAX_BYTES", 100)
    with pytest.raises(TooLargeError):
        IlluminationModel.from_bytes(payload)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(NotFoundError, match="nothing"):
        IlluminationModel.load(tmp_path / "nothing.npz")
    path = tmp_path / "broken.npz"
    path.write_bytes(b"PK")
    with pytest.raises(DamagedError) as caught:
        IlluminationModel.load(path)
    assert "broken" in caught.value.place


def test_settings_are_described_and_strict():
    assert IlluminationSettings().method == "basic"
    assert all(field.description for field in IlluminationSettings.model_fields.values())
    for wrong in ({"method": "magic"}, {"frames": 0}, {"unknown": 1}, {"working_size": 1}):
        with pytest.raises(ValidationError):
            IlluminationSettings(**wrong)
    assert VERSION


def test_a_whole_plate_is_corrected_evenly(data):
    tifffile = pytest.importorskip("tifffile")
    thumbs = []
    for part in sorted((data / "fields" / "sbs_plate").glob("channel2_all96*.zip")):
        with zipfile.ZipFile(part) as archive:
            thumbs += [shrink(tifffile.imread(io.BytesIO(archive.read(name)))) for name in sorted(archive.namelist())]
    fitted = fit_illumination(np.stack(thumbs), False, shape=(640, 640))
    assert len(fitted.baseline) == 96
    assert 0.6 < fitted.flatfield.min() < 0.85
    assert 1.15 < fitted.flatfield.max() < 1.4
    tiles = np.stack(thumbs).reshape(96, 8, 16, 8, 16).mean(axis=(0, 2, 4))
    corrected = (np.stack(thumbs) / fitted.flat).reshape(96, 8, 16, 8, 16).mean(axis=(0, 2, 4))
    assert corrected.std() / corrected.mean() < 0.75 * tiles.std() / tiles.mean()
