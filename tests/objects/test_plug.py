"""How segmenters are named, configured, built and asked."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Literal

import numpy as np
import pytest

from phenostream import objects
from phenostream.errors import RecipeError
from phenostream.objects import plug
from phenostream.values import Field, FieldId, Objects, plugs


def test_the_folder_is_the_registry():
    assert {"classical", "own_regions", "masks", "cellpose", "stardist"} <= set(objects.names())


def test_the_default_is_classical():
    assert objects.settings({}).model == "classical"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"model": "nothing"}, "no segmenter 'nothing'.*classical"),
        ({"model": None}, "no segmenter None"),
        ({"model": "../os"}, "no segmenter"),
        ({"model": "classical", "diametre": 3}, "diametre.*takes.*diameter"),
        ({"model": "classical", "diameter": "wide"}, "diameter.*number"),
        ({"model": "classical", "diameter": -3}, "diameter.*greater"),
        ({"compartment": "my nuclei"}, "compartment"),
        ({"model": "masks"}, "folder.*required"),
    ],
)
def test_faults_are_named_with_their_remedy(told, words):
    with pytest.raises(RecipeError, match=f"(?i){words}"):
        objects.settings(told)


def test_settings_are_frozen_and_make_the_digest():
    one, two = objects.settings({"diameter": 20}), objects.settings({"diameter": 21})
    assert objects.build(one).digest != objects.build(two).digest
    assert objects.build(one) is objects.build(objects.settings({"diameter": 20}))
    with pytest.raises(ValueError, match="frozen"):
        one.diameter = 3


def test_schemas_are_for_editors():
    assert "diameter" in objects.schema()["classical"]["properties"]


class Corner:
    digest = "corner-1"

    def segment(self, field):
        labels = np.zeros(field.read().shape[1:], np.int32)
        labels[0, 0] = 1
        return Objects(field.id, labels, model=self.digest)


class CornerSettings(plug.SegmenterSettings):
    model: Literal["corner"] = "corner"


def test_others_bring_segmenters_by_entry_point(monkeypatch):
    module = SimpleNamespace(Settings=CornerSettings, build=lambda settings: Corner())
    point = EntryPoint("corner", "corner", plug.GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda self: module)
    monkeypatch.setattr(plugs, "entry_points", lambda group: [point] if group == plug.GROUP else [])
    assert "corner" in objects.names()
    assert objects.segment(np.ones((3, 4)), model="corner").tolist()[0] == [1, 0, 0, 0]
    assert isinstance(objects.build(CornerSettings()), objects.Segmenter)


def test_a_segmenter_is_made_anew_when_its_files_change(monkeypatch):
    stamps = ["one"]
    module = SimpleNamespace(Settings=CornerSettings, build=lambda _: Corner(), stamp=lambda _: stamps[0])
    point = EntryPoint("corner", "corner", plug.GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda self: module)
    monkeypatch.setattr(plugs, "entry_points", lambda group: [point])
    first = objects.build(CornerSettings())
    assert objects.build(CornerSettings()) is first
    stamps[0] = "two"
    second = objects.build(CornerSettings())
    assert second is not first
    objects.forget()
    assert objects.build(CornerSettings()) is not second


def test_one_thread_where_cores_are_shared():
    assert objects.for_one_core(objects.settings({"model": "nuclei", "threads": 5})).threads == 1
    plain = objects.settings({"model": "classical"})
    assert objects.for_one_core(plain) == plain


def test_memory_is_asked_of_those_that_tell():
    class Large(Corner):
        def memory(self, shape):
            return 7 * shape[0] * shape[1]

    assert objects.memory_of(Corner(), (3, 4)) == 0
    assert objects.memory_of(Large(), (3, 4)) == 84


def test_run_prefers_labels_that_lie_beside_the_pixels():
    class Beside(Corner):
        def segment_from(self, field, store):
            return Objects(field.id, np.full((2, 2), len(store), np.int32))

    field = Field.of(np.ones((2, 2)), id=FieldId(well="A1"))
    assert objects.run(Beside(), field, "store").labels[0, 0] == 5
    assert objects.run(Beside(), field).labels.tolist() == [[1, 0], [0, 0]]
    assert objects.run(Corner(), field, "store").labels.tolist() == [[1, 0], [0, 0]]
