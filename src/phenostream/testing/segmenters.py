"""The exam of segmenters: what every module of `phenostream.objects.segmenters`, and every outside one, must do."""

# ruff: noqa: S101  (an exam asserts)

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
from hypothesis import strategies as st
from scipy import ndimage

from phenostream import objects
from phenostream.errors import NotFiniteError, WrongDtypeError
from phenostream.values import Field, FieldId

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Scene", "SegmenterExam", "best_overlaps", "nuclei", "scenes"]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A made-up image (Y, X) uint8 and the labels (Y, X) int32 that made it."""

    image: NDArray[np.uint8]
    labels: NDArray[np.int32]


def nuclei(
    seed: int = 0,
    *,
    count: int = 20,
    diameter: float = 20.0,
    shape: tuple[int, int] = (192, 224),
    base: float = 20.0,
    height: float = 100.0,
) -> Scene:
    """A scene of up to `count` separate elliptic nuclei of about `diameter` pixels, `height` counts over `base`.

    Blurred by 1.2 pixels, with photon noise. Nuclei do not overlap and may be cut by the border.
    """
    rng = np.random.default_rng(seed)
    labels, light = np.zeros(shape, np.int32), np.full(shape, float(base))
    for place in rng.uniform((0, 0), shape, (20 * count, 2)):
        reach, here = _ellipse(place, diameter / 2 * rng.uniform(0.85, 1.15, 2), rng.uniform(0, np.pi), shape)
        if labels.max() < count and not labels[here][reach < 1 + 8 / diameter].any():
            labels[here][reach < 1] = labels.max() + 1
            light[here][reach < 1] += height * rng.uniform(0.6, 1.2)
    image = rng.poisson(ndimage.gaussian_filter(light, 1.2)).clip(0, 255).astype(np.uint8)
    return Scene(image, objects.relabel(labels))


def _ellipse(
    place: NDArray[np.float64], axes: NDArray[np.float64], turn: float, shape: tuple[int, int]
) -> tuple[NDArray[np.float64], tuple[slice, slice]]:
    """How far pixels near an ellipse are out (1 at its border), and which part of the image they are."""
    far = 2 * axes.max() + 4
    rows, columns = (slice(max(0, int(middle - far)), int(middle + far)) for middle in place)
    v, u = np.arange(shape[0])[rows, None] - place[0], np.arange(shape[1])[columns] - place[1]
    along, across = v * np.cos(turn) + u * np.sin(turn), u * np.cos(turn) - v * np.sin(turn)
    return np.hypot(along / axes[0], across / axes[1]), (rows, columns)


def scenes() -> st.SearchStrategy[Scene]:
    """Scenes of 0 to 15 nuclei of 10 to 32 pixels, of several backgrounds and brightnesses."""
    return st.builds(
        nuclei,
        st.integers(0, 2**31),
        count=st.integers(0, 15),
        diameter=st.floats(10, 32),
        base=st.floats(2, 60),
        height=st.floats(40, 150),
    )


def best_overlaps(truth: NDArray[Any], found: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union of every object of `truth`, ascending label, with the one of `found` that fits best."""
    width = int(found.max(initial=0)) + 1
    joint = np.bincount(
        truth.ravel().astype(np.int64) * width + found.ravel(), minlength=width * (int(truth.max(initial=0)) + 1)
    )
    table = joint.reshape(-1, width)
    union = table.sum(axis=1, keepdims=True) + table.sum(axis=0) - table
    return np.asarray((table / np.maximum(union, 1))[np.unique(truth[truth > 0]), 1:].max(axis=1, initial=0))


class SegmenterExam:
    """Subclass it in a test module, set `settings`, and pytest examines the segmenter.

    Attributes:
        settings: as they would stand in a recipe.
        sees: False for a segmenter that does not look at pixels, or whose weights are random.
        scene: what the segmenter is shown.
    """

    settings: ClassVar[dict[str, Any]]
    sees: ClassVar[bool] = True
    scene: ClassVar[Scene] = nuclei()

    @pytest.fixture
    def segmenter(self) -> objects.Segmenter:
        """The segmenter of `settings`."""
        return objects.build(objects.settings(self.settings))

    def labels(self, segmenter: objects.Segmenter, image: NDArray[Any]) -> NDArray[np.int32]:
        """The labels of an image (Y, X)."""
        return segmenter.segment(Field.of(image)).labels

    def test_settings_travel(self) -> None:
        """Settings survive pickling and JSON, and equal settings give one segmenter."""
        told = objects.settings(self.settings)
        assert pickle.loads(pickle.dumps(told)) == told  # noqa: S301  (made here)
        assert type(told).model_validate_json(told.model_dump_json()) == told
        assert objects.build(told) is objects.build(objects.settings(self.settings))

    def test_every_setting_is_described(self) -> None:
        """The JSON Schema explains each setting."""
        properties = objects.settings(self.settings).model_json_schema()["properties"]
        assert [name for name, told in properties.items() if name != "model" and not told.get("description")] == []

    def test_digest_names_the_segmenter(self, segmenter: objects.Segmenter) -> None:
        """The digest begins with the name, is stable, and marks the objects."""
        found = segmenter.segment(Field.of(self.scene.image, id=FieldId(plate="P", well="A1")))
        assert segmenter.digest.startswith(f"{self.settings['model']}-")
        assert found.model.startswith(segmenter.digest)
        assert found.field == FieldId(plate="P", well="A1")

    def test_labels_are_consecutive_int32_in_raster_order(self, segmenter: objects.Segmenter) -> None:
        """Shape of the image, int32, 1 to N by first pixel."""
        labels = self.labels(segmenter, self.scene.image)
        assert labels.dtype == np.int32
        assert labels.shape == self.scene.image.shape
        assert np.array_equal(labels, objects.relabel(labels))

    def test_same_image_same_labels(self, segmenter: objects.Segmenter) -> None:
        """Twice the same, also by a segmenter built anew."""
        first = self.labels(segmenter, self.scene.image)
        objects.forget()
        fresh = objects.build(objects.settings(self.settings))
        assert np.array_equal(first, self.labels(segmenter, self.scene.image))
        assert np.array_equal(first, self.labels(fresh, self.scene.image))
        assert fresh.digest == segmenter.digest

    def test_input_stays(self, segmenter: objects.Segmenter) -> None:
        """Pixels are read only."""
        image = self.scene.image.copy()
        image.flags.writeable = False
        self.labels(segmenter, image)
        assert np.array_equal(image, self.scene.image)

    @pytest.mark.parametrize("value", [0, 7, 255])
    def test_flat_images_are_empty(self, segmenter: objects.Segmenter, value: int) -> None:
        """A constant image has no objects."""
        assert not self.labels(segmenter, np.full((64, 48), value, np.uint8)).any()

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_what_is_no_number_is_refused(self, segmenter: objects.Segmenter, bad: float) -> None:
        """NaN and infinity are named."""
        image = self.scene.image.astype(np.float32)
        image[3, 4] = bad
        with pytest.raises(NotFiniteError, match=f"1 of {image.size}"):
            self.labels(segmenter, image)

    def test_what_is_no_image_is_refused(self, segmenter: objects.Segmenter) -> None:
        """Complex pixels are named."""
        with pytest.raises(WrongDtypeError, match="complex"):
            self.labels(segmenter, self.scene.image.astype(np.complex64))

    def test_type_and_scale_change_nothing(self, segmenter: objects.Segmenter) -> None:
        """uint8, uint16 and floats of one image give the same objects."""
        first = self.labels(segmenter, self.scene.image)
        image = self.scene.image.astype(np.float64)
        for other in (image.astype(np.uint16) * 256, (image / 255).astype(np.float32), image, image.astype(np.int32)):
            second = self.labels(segmenter, other)
            assert second.max(initial=0) == first.max(initial=0), other.dtype
            assert (best_overlaps(first, second) > 0.9).all(), other.dtype

    def test_chosen_channel(self) -> None:
        """The setting `channel` says which channel is looked at; the first is the default."""
        dark = np.zeros_like(self.scene.image)
        field = Field.of(np.stack([dark, self.scene.image]), ("Empty", "DNA"))
        told = objects.settings({**self.settings, "channel": "DNA"})
        plain = objects.build(objects.settings(self.settings))
        assert np.array_equal(objects.build(told).segment(field).labels, self.labels(plain, self.scene.image))
        assert not plain.segment(field).labels.any()

    def test_nuclei_are_found(self, segmenter: objects.Segmenter) -> None:
        """Separate nuclei come out one by one, at nine tenths with an overlap over 0.7."""
        if not self.sees:
            pytest.skip("its weights are random")
        overlaps = best_overlaps(self.scene.labels, self.labels(segmenter, self.scene.image))
        assert np.mean(overlaps > 0.7) >= 0.9

    def test_place_does_not_matter(self, segmenter: objects.Segmenter) -> None:
        """Objects well inside two overlapping cuts of an image are the same."""
        if not self.sees:
            pytest.skip("its weights are random")
        shift, edge = 7, 12
        one = self.labels(segmenter, self.scene.image[shift:, shift:])
        two = self.labels(segmenter, self.scene.image)[shift:, shift:]
        middle = np.zeros(one.shape, np.bool_)
        middle[edge:-edge, edge:-edge] = True
        inner = np.setdiff1d(np.unique(two), np.unique(two[~middle]))
        assert inner.size
        assert (best_overlaps(np.where(np.isin(two, inner), two, 0), one) > 0.75).all()
