"""Rows, modes and promises of embeddings, on the shipped model and on models made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import phenostream.features as features
from phenostream import inference, objects
from phenostream.errors import ChannelMissingError, NotFoundError, RecipeError, WrongShapeError
from phenostream.features import CropSettings, DeepSettings, Embedder, embed, embed_crops, embed_table
from phenostream.features.deep.crops import Cutter
from phenostream.features.scene import Scene
from phenostream.values import columns_of


@pytest.fixture(scope="module")
def scene() -> tuple[np.ndarray, np.ndarray]:
    """Nuclei of several sizes and intensities, two at the border; labels with gaps."""
    rng = np.random.default_rng(0)
    yy, xx = np.mgrid[:160, :200]
    image, labels = np.zeros(yy.shape), np.zeros(yy.shape, np.int32)
    places = [(20, 30), (25, 90), (60, 160), (0, 199), (100, 40), (120, 120), (159, 5)]
    for number, (y, x) in enumerate(places, start=1):
        a, b = rng.uniform(7, 14, 2)
        inside = ((yy - y) / a) ** 2 + ((xx - x) / b) ** 2 < 1
        image[inside], labels[inside] = rng.uniform(60, 180), 3 * number
    image = ndimage.gaussian_filter(image, 1) + rng.normal(20, 3, image.shape)
    return image.clip(0, 255).astype(np.uint8), labels


@pytest.fixture(scope="module")
def mean_model(tmp_path_factory) -> Path:
    """A package of two channels that gives each channel's mean and largest value."""
    onnx = pytest.importorskip("onnx")
    tensor = onnx.helper.make_tensor_value_info
    nodes = [
        onnx.helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        onnx.helper.make_node("ReduceMax", ["image", "axes"], ["high"], keepdims=0),
        onnx.helper.make_node("Concat", ["mean", "high"], ["embedding"], axis=1),
    ]
    axes = onnx.numpy_helper.from_array(np.array([2, 3], np.int64), "axes")
    graph = onnx.helper.make_graph(
        nodes, "g", [tensor("image", 1, ["n", 2, 16, 16])], [tensor("embedding", 1, ["n", 4])], [axes]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    test = np.random.default_rng(0).random((1, 2, 16, 16), dtype=np.float32)
    folder = tmp_path_factory.mktemp("models") / "means"
    inference.write_package(
        folder, name="means", description="Means of crops.", onnx=model.SerializeToString(),
        weights={"none": np.zeros(1, np.float32)}, image=inference.Image(("A", "B"), size=16),
        outputs=[inference.Output("embedding", ("a", "b", "c", "d"), ratio=None)], test_input=test,
        test_output={"embedding": np.concatenate([test.mean((2, 3)), test.max((2, 3))], 1)}, training={}, metrics={},
        settings={"crops": {"box_px": 16, "intensity": "absolute"}, "diameter_px": 8},
    )  # fmt: skip
    return folder


def test_rows_are_by_ascending_label_and_independent(scene):
    image, labels = scene
    whole = embed(image, labels)
    assert whole.dtype == np.float32
    assert whole.shape == (7, 194)
    swapped = np.where(labels == 3, 99, labels)
    np.testing.assert_allclose(embed(image, swapped), whole[[1, 2, 3, 4, 5, 6, 0]], atol=1e-5)
    np.testing.assert_allclose(embed(image, np.where(labels == 9, 9, 0)), whole[2:3], atol=1e-5)


def test_the_same_bits_for_any_number_of_threads(scene):
    assert np.array_equal(embed(*scene, threads=1), embed(*scene, threads=2))


def test_crops_cut_elsewhere_give_the_same(scene):
    image, labels = scene
    places = objects.centroids(labels)
    inside = np.flatnonzero(((places > 32) & (places < np.array(labels.shape) - 33)).all(axis=1))
    cut = objects.crops(image, places[inside], 64)
    assert len(inside) >= 1
    np.testing.assert_allclose(embed_crops(cut), embed(image, labels)[inside], atol=2e-5)
    np.testing.assert_allclose(embed_crops(cut.astype(np.uint16) * 200 + 9), embed_crops(cut), atol=2e-3)


@pytest.mark.parametrize("crops", [{}, {"mask": True}, {"box": "object"}, {"intensity": "field"}, {"diameter": 20.0}])
def test_gain_and_offset_hardly_matter_and_nothing_is_nan(scene, crops):
    image, labels = scene
    first = embed(image, labels, crops=crops)
    second = embed(image.astype(np.float32) * 0.003 + 0.1, labels, crops=crops)
    assert np.isfinite(first).all()
    np.testing.assert_allclose(second, first, atol=0.02)


def test_absolute_intensities_are_seen_where_wanted(scene):
    image, labels = scene
    dim = (image // 2).astype(np.uint8)
    for intensity, changes in (("crop", False), ("field", False), ("absolute", True)):
        pair = [embed(one, labels, crops={"intensity": intensity})[:, -2] for one in (image, dim)]
        assert (np.abs(pair[0] - pair[1]).min() > 0.5) == changes


def test_one_dim_cell_shows_within_its_field(scene):
    image, labels = scene
    dim = np.where(ndimage.binary_dilation(labels == 9, iterations=24), image // 3, image).astype(np.uint8)
    place = 2
    for intensity, least in (("crop", 0), ("field", 0.5)):
        pair = [embed(one, labels, crops={"intensity": intensity})[place, -2] for one in (image, dim)]
        assert abs(pair[0] - pair[1]) >= least
    pair = [embed(one, labels)[place, -2] for one in (image, dim)]
    assert abs(pair[0] - pair[1]) < 0.01


def test_boxes_scaled_to_objects_show_small_and_large_alike(mean_model):
    yy, xx = np.mgrid[:120, :240]
    image, labels = np.zeros((2, 120, 240), np.float32), np.zeros((120, 240), np.int32)
    for number, (x, r) in enumerate([(60, 8), (180, 24)], start=1):
        inside = (yy - 60) ** 2 + (xx - x) ** 2 < r * r
        labels[inside], image[:, inside] = number, 1
    scaled = embed(image, labels, model=str(mean_model), crops={"box": "object"})
    np.testing.assert_allclose(scaled[0], scaled[1], atol=0.03)
    np.testing.assert_allclose(scaled[:, 0], np.pi / 4 / 4, atol=0.03)  # a disc in a box of twice its diameter
    fixed = embed(image, labels, model=str(mean_model))
    assert fixed[1, 0] > 1.2 * fixed[0, 0]


def test_a_mask_hides_the_neighbours(scene, mean_model):
    image, labels = scene
    stack = np.stack([image, image])
    other = np.where((labels > 0) & (labels != 6), 255, image).astype(np.uint8)
    changed = np.stack([other, other])
    shown, hidden = ({"mask": mask, "box_px": 120} for mask in (False, True))
    own = 1
    told = [embed(one, labels, model=str(mean_model), crops=hidden)[own] for one in (stack, changed)]
    assert np.array_equal(*told)
    told = [embed(one, labels, model=str(mean_model), crops=shown)[own] for one in (stack, changed)]
    assert not np.allclose(*told)


def test_flat_fields_and_empty_labels(scene):
    labels = scene[1]
    flat = np.full(labels.shape, 7, np.uint8)
    assert np.isfinite(embed(flat, labels)).all()
    assert embed(flat, labels * 0).shape == (0, 194)


def test_several_channels_side_by_side_or_together(scene, mean_model):
    image, labels = scene
    stack = np.stack([image, 255 - image])
    both = embed(stack, labels)
    np.testing.assert_allclose(both, np.hstack([embed(stack[0], labels), embed(stack[1], labels)]), atol=1e-5)
    table = embed_table(stack, labels, ["DNA", "ER"])
    assert table.column_names[1] == "cellnet_DNA_0"
    assert table.column_names[-1] == "cellnet_ER_193"
    told = {column.name: column for column in columns_of(table.schema)}
    assert told["cellnet_ER_193"].channel == "ER"
    assert told["cellnet_ER_193"].family == "embedding"
    assert embed(stack, labels, model=str(mean_model)).shape == (7, 4)
    picked = DeepSettings(model=str(mean_model), channels=("ER", "DNA"))
    turned = Embedder(picked).embed(stack, labels, ["DNA", "ER"])
    assert np.array_equal(turned, embed(stack[::-1], labels, model=str(mean_model)))
    with pytest.raises(ChannelMissingError, match="2 channels"):
        embed(image, labels, model=str(mean_model))
    with pytest.raises(ChannelMissingError, match="Mito"):
        Embedder(DeepSettings(channels=("Mito",))).embed(image, labels, ["DNA"])


def test_rows_of_two_segmentations_are_not_put_side_by_side(scene):
    image, labels = scene
    measured = features.measure(image, labels, families=["intensity"])
    joined = features.beside(measured, embed_table(image, labels))
    assert joined.num_columns == measured.num_columns + 194
    assert b"phenostream.embedding" in joined.schema.metadata
    with pytest.raises(WrongShapeError, match="not the same"):
        features.beside(measured, embed_table(image, np.where(labels == 3, 0, labels)))


def test_crop_settings_are_taken_from_the_package_and_overridden(mean_model):
    embedder = Embedder(DeepSettings(model=str(mean_model), crops={"mask": True}))
    assert embedder.crops == CropSettings(box_px=16, intensity="absolute", mask=True)
    assert embedder.identity["crops"]["mask"] is True


@pytest.mark.parametrize("crops", [{"bocks": 3}, {"box": "triangle"}, {"box_px": -1}])
def test_wrong_crops_are_named(scene, crops):
    with pytest.raises(RecipeError, match=next(iter(crops))):
        embed(*scene, crops=crops)


def test_a_model_that_is_not_there(scene):
    with pytest.raises(NotFoundError, match="nosuch"):
        embed(*scene, model="nosuch")


def test_crops_of_another_size_are_refused():
    with pytest.raises(WrongShapeError, match="64 pixels"):
        embed_crops(np.zeros((2, 32, 32)))


def test_cutting_in_parts_is_cutting_at_once(scene):
    cut = Cutter(Scene(*scene), CropSettings(), 64, reference=27)
    assert np.array_equal(np.concatenate([cut(0, 3), cut(3, 7)]), cut(0, 7))


def test_the_shipped_package_answers_as_it_did_when_it_was_made():
    package = inference.find("cellnet")
    wanted = np.load(package.folder / "test_output_embedding.npy")
    found = inference.load(package).batch(np.load(package.folder / "test_input.npy"))
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    size = sum(path.stat().st_size for path in package.folder.iterdir())
    assert size < 25e6
