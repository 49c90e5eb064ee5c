"""Tensors: the same batches for PyTorch, from threads or worker processes, and from any checkpoint."""

import subprocess
import sys
from itertools import islice

import numpy as np
import pytest
import torch

from phenostream.datasets.loading import (
    Augmentation,
    LoadSettings,
    Transform,
    batches,
    normalisation,
    torch_dataset,
    torch_loader,
)
from phenostream.datasets.loading.tensors import channels_of, on_device
from phenostream.errors import RecipeError

AUGMENTATION = Augmentation(crop=(16, 16), gain=0.2, offset=0.1)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def labels(pack):
    return np.array(pack.table["sirna_id"].to_pylist())


def test_tensors_are_the_batches(pack, labels):
    transform = Transform(normalisation(pack), AUGMENTATION)
    loader = torch_loader(batches(pack, batch_size=8), transform=transform, columns={"label": labels})
    for tensors, batch in zip(loader, batches(pack, batch_size=8).epoch(0), strict=True):
        assert np.array_equal(tensors["pixels"].numpy(), transform(batch))
        assert np.array_equal(tensors["site"], batch.sites)
        assert np.array_equal(tensors["label"], labels[batch.sites])
        assert not tensors["repeated"].any()
    assert len(loader) == len(batches(pack, batch_size=8))


def test_plain_tensors_outlive_their_loader(pack):
    found = list(torch_loader(batches(pack, batch_size=8, settings=LoadSettings(prefetch_mb=0))))
    for tensors in found:
        assert all(np.array_equal(p, pack[int(s)]) for p, s in zip(tensors["pixels"], tensors["site"], strict=True))


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_operations_of_a_device_do_the_same(pack, normalised, dtype):
    """PyTorch's own operations, as they run on a GPU, beside NumPy's."""
    told = normalisation(pack) if normalised else None
    transform = Transform(told, AUGMENTATION if normalised else Augmentation(crop=(10, 20)))
    for batch in batches(pack, batch_size=8):
        pixels = batch.pixels.astype(dtype) * (1 if dtype == np.uint8 else 250)
        wide = type(batch)(pixels, batch.sites, batch.groups, batch.keys, batch.repeated, batch.state, pack)
        ours, theirs = on_device(torch.from_numpy(pixels), transform.moves(wide)), transform(wide)
        assert ours.numpy().dtype == theirs.dtype
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.float32])
def test_channels_by_place_in_any_type(dtype):
    pixels = np.random.default_rng(0).integers(0, 60_000, (2, 4, 3, 5)).astype(dtype)
    found = channels_of(torch.from_numpy(pixels), [3, 1])
    assert found.numpy().dtype == dtype
    assert np.array_equal(found.numpy(), pixels[:, [3, 1]])
    whole = torch.from_numpy(pixels)
    assert channels_of(whole, [0, 1, 2, 3]) is whole


def test_it_goes_on_where_a_checkpoint_was_made(pack):
    def loader():
        return torch_loader(batches(pack, batch_size=8, seed=3), transform=Transform(augmentation=AUGMENTATION))

    whole = [tensors for one in [loader()] for _ in range(2) for tensors in one]
    first = loader()
    before = [tensors for tensors, _ in zip(first, range(4), strict=False)]
    second = loader()
    second.load_state_dict(first.state_dict())
    rest = [tensors for _ in range(2) for tensors in second]
    # The fifth was taken by `zip` too, hence it counts as given: what follows it comes.
    assert all(same(a, b) for a, b in zip(before, whole, strict=False))
    assert all(same(a, b) for a, b in zip(rest, whole[len(whole) - len(rest) :], strict=True))
    assert len(rest) == len(whole) - first.state.position // 8
    third = loader()
    third.set_epoch(1)
    assert all(same(a, b) for a, b in zip(third, whole[len(whole) // 2 :], strict=True))
    with pytest.raises(RecipeError, match="another seed"):
        torch_loader(batches(pack, batch_size=8)).load_state_dict(first.state_dict())


def test_one_stream_goes_over_all_epochs_from_any_step_on(pack):
    def loader():
        return torch_loader(batches(pack, batch_size=8, settings=LoadSettings(last="drop")))

    one, steps = loader(), len(loader())
    epochs = [tensors for _ in range(3) for tensors in one]
    stream = loader()
    assert all(same(a, b) for a, b in zip(islice(stream.forever(), 3 * steps), epochs, strict=True))
    assert (stream.state.epoch, stream.state.position) == (2, 8 * steps)
    for begin in (1, steps, 2 * steps - 1):
        later = loader()
        later.state = later.batches.course.before(begin)
        assert all(same(a, b) for a, b in zip(islice(later.forever(), steps), epochs[begin:], strict=False))


@pytest.mark.slow
def test_worker_processes_change_nothing(pack, labels):
    def loader(workers):
        own = batches(pack, batch_size=8, seed=3)
        transform = Transform(normalisation(pack), AUGMENTATION)
        return torch_loader(own, transform=transform, columns={"label": labels}, workers=workers)

    threads, processes = loader(0), loader(2)
    for _ in range(2):
        assert all(same(a, b) for a, b in zip(threads, processes, strict=True))
    state = loader(2)
    next(iter(state))
    again = loader(1)
    again.load_state_dict(state.state_dict())
    assert all(same(a, b) for a, b in zip(again, list(loader(0))[1:], strict=True))
    count = 2 * len(loader(0)) + 1
    streams = (islice(loader(number).forever(), count) for number in (0, 2))
    assert all(same(a, b) for a, b in zip(*streams, strict=True))


def test_a_data_set_of_sites(pack, labels):
    data = torch_dataset(pack, columns={"label": labels})
    assert len(data) == len(pack)
    item = data[7]
    assert np.array_equal(item["pixels"], pack[7])
    assert int(item["label"]) == labels[7]
    loader = torch.utils.data.DataLoader(data, batch_size=5, shuffle=True)
    seen = []
    for tensors in loader:
        seen += tensors["site"].tolist()
        assert all(np.array_equal(p, pack[s]) for p, s in zip(tensors["pixels"], tensors["site"].tolist(), strict=True))
    assert sorted(seen) == list(range(len(pack)))


def test_what_does_not_fit_is_refused(pack):
    with pytest.raises(RecipeError, match="3 values of label for 72 sites".replace("72", str(len(pack)))):
        torch_loader(batches(pack, batch_size=8), columns={"label": np.zeros(3)})
    with pytest.raises(RecipeError, match="no device is called 'abacus'"):
        torch_loader(batches(pack, batch_size=8), device="abacus")


def test_pytorch_is_loaded_by_whoever_asks_for_tensors():
    program = "import sys; from phenostream.datasets import loading; assert 'torch' not in sys.modules; loading.batches"
    subprocess.run([sys.executable, "-c", program], check=True)
    missing = (
        "import sys; sys.modules['torch'] = None\n"
        "from phenostream.datasets import loading\n"
        "from phenostream.errors import MissingExtraError\n"
        "try: loading.torch_loader\n"
        "except MissingExtraError as error: assert 'pip install \"phenostream[train]\"' in str(error)\n"
        "else: raise SystemExit('not refused')\n"
    )
    subprocess.run([sys.executable, "-c", missing], check=True)
