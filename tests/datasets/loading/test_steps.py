"""Steps: every unit exactly once over all processes, as many steps for each, and any place to go on from."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from phenostream.datasets.loading import Balanced, Groups, LoadSettings, Share, Shuffled, State, Windows, batches
from phenostream.datasets.loading.steps import Course
from phenostream.errors import RecipeError


class _Numbers:
    """Units that are nothing but so many."""

    def __init__(self, count):
        self.sites, self.starts = np.arange(count), np.arange(count + 1)
        self.pack = type("Pack", (), {"description": type("Description", (), {"tables": {}})})

    def __len__(self):
        return len(self.sites)

    def members(self, units):
        return units, np.arange(len(units))


def courses(count, batch, world, last="spread", order=None, seed=0):
    units = _Numbers(count)
    return [Course(units, order or Shuffled(), batch, seed, Share(rank, world), last) for rank in range(world)]


def epoch(course, number=0):
    return list(course.steps(course.start(number)))


sizes = {"count": st.integers(1, 200), "batch": st.integers(1, 12), "world": st.integers(1, 9)}


@given(**sizes)
def test_spread_gives_each_site_once_in_as_many_steps_for_each_process(count, batch, world):
    assume(count >= world and (batch > 1 or count % world == 0))
    ranks = [epoch(course) for course in courses(count, batch, world)]
    assert len({len(steps) for steps in ranks}) == 1 == len({*map(len, courses(count, batch, world))} | {len(ranks[0])})
    everything = np.concatenate([step.sites for steps in ranks for step in steps])
    assert sorted(everything.tolist()) == list(range(count))
    for together in zip(*ranks, strict=True):
        lengths = [len(step.sites) for step in together]
        assert 1 <= min(lengths) <= max(lengths) <= batch
        assert max(lengths) - min(lengths) <= 1


@given(**sizes)
def test_dropped_ends_leave_only_full_batches(count, batch, world):
    assume(count >= batch * world)
    ranks = [epoch(course) for course in courses(count, batch, world, "drop")]
    everything = np.concatenate([step.sites for steps in ranks for step in steps])
    assert len({*everything.tolist()}) == len(everything) == count // (batch * world) * batch * world
    assert all(len(step.sites) == batch for steps in ranks for step in steps)


@given(**sizes)
def test_padded_ends_repeat_sites_and_say_so(count, batch, world):
    ranks = [epoch(course) for course in courses(count, batch, world, "pad")]
    steps = [step for steps in ranks for step in steps]
    assert all(len(step.sites) == batch for step in steps)
    first = np.concatenate([step.sites[~step.repeated] for step in steps])
    assert sorted(first.tolist()) == list(range(count))


@given(**sizes, fraction=st.floats(0, 1), other=st.integers(1, 9), last=st.sampled_from(["spread", "drop", "pad"]))
def test_an_epoch_goes_on_exactly_even_with_other_processes(count, batch, world, fraction, other, last):
    assume(count >= max(batch * max(world, other), 2 * max(world, other)) and batch > 1)
    whole = epoch(courses(count, batch, world, last)[0], 3)
    stop = int(fraction * (len(whole) - 1))
    state = State(**{name: getattr(whole[stop].state, name) for name in ("seed", "epoch", "position", "plan")})
    rest = list(courses(count, batch, world, last)[0].steps(state))
    for ours, theirs in zip(rest, whole[stop + 1 :], strict=True):
        assert all(np.array_equal(getattr(ours, name), getattr(theirs, name)) for name in ("sites", "keys", "repeated"))
        assert ours.state == theirs.state
    if last == "spread":
        before = [s.sites for c in courses(count, batch, world, last) for s in epoch(c, 3)[: stop + 1]]
        after = [s.sites for c in courses(count, batch, other, last) for s in c.steps(c.checked(state))]
        assert sorted(np.concatenate([*before, *after]).tolist()) == list(range(count))


@given(**sizes, step=st.integers(0, 60), last=st.sampled_from(["spread", "drop", "pad"]))
def test_any_step_can_be_gone_on_from(count, batch, world, step, last):
    assume(count >= batch * world and (batch > 1 or count % world == 0))
    course = courses(count, batch, world, last)[0]
    epoch_number, within = divmod(step, len(course))
    wanted = epoch(course, epoch_number)[within]
    found = next(course.steps(course.before(step)))
    assert np.array_equal(found.sites, wanted.sites)
    assert found.state == wanted.state


def test_keys_follow_from_seed_epoch_and_site_alone():
    def keys(course, number):
        return {int(s): int(k) for step in epoch(course, number) for s, k in zip(step.sites, step.keys, strict=True)}

    first = keys(courses(50, 8, 1)[0], 1)
    assert first == keys(courses(50, 3, 1)[0], 1) == keys(courses(50, 8, 1, order=Shuffled())[0], 1)
    assert first == {k: v for course in courses(50, 4, 3) for k, v in keys(course, 1).items()}
    assert not {*first.values()} & {*keys(courses(50, 8, 1)[0], 2).values()}
    assert not {*first.values()} & {*keys(courses(50, 8, 1, seed=1)[0], 1).values()}
    assert len({*first.values()}) == 50


def test_repeats_have_keys_of_their_own(pack):
    course = batches(pack, batch_size=8, shuffle=Balanced("sirna_id", 30)).course
    keys = np.concatenate([step.keys for step in epoch(course)])
    sites = np.concatenate([step.sites for step in epoch(course)])
    assert len({*sites.tolist()}) < len(sites) == len({*keys.tolist()})
    padded = [step for course in courses(5, 4, 2, "pad") for step in epoch(course)]
    assert len({*np.concatenate([step.keys for step in padded]).tolist()}) == 8


def test_epochs_and_seeds_differ():
    course = courses(100, 10, 1)[0]
    orders = [np.concatenate([s.sites for s in epoch(c, e)]) for c, e in
              ((course, 0), (course, 1), (courses(100, 10, 1, seed=1)[0], 0))]  # fmt: skip
    assert not any(np.array_equal(orders[a], orders[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert np.array_equal(orders[0], np.concatenate([s.sites for s in epoch(courses(100, 7, 1)[0])]))


def test_what_cannot_be_shared_out_is_refused():
    with pytest.raises(RecipeError, match="leave a process without any"):
        courses(3, 1, 2)
    with pytest.raises(RecipeError, match="leave a process without any"):
        courses(3, 8, 4)
    with pytest.raises(RecipeError, match="do not fill one step of 8"):
        courses(7, 8, 1, "drop")
    with pytest.raises(RecipeError, match="a batch of 0"):
        courses(7, 0, 1)
    with pytest.raises(RecipeError, match="rank 2 of 2"):
        Share(2, 2)
    with pytest.raises(RecipeError, match="epoch -1"):
        epoch(courses(7, 2, 1)[0], -1)


def test_a_state_of_something_else_is_refused(pack):
    loader = batches(pack, batch_size=8)
    state = next(loader.epoch(0)).state
    others = [
        batches(pack, batch_size=8, seed=1),
        batches(pack, batch_size=8, sites=np.arange(20)),
        batches(pack, batch_size=8, shuffle=False),
        batches(pack, batch_size=8, shuffle=Windows(16, 4)),
        batches(pack, batch_size=8, settings=LoadSettings(together=("plate", "well"))),
    ]
    for other in others:
        with pytest.raises(RecipeError, match="of another seed, another order"):
            next(other.resume(state))
    assert len(next(batches(pack, batch_size=4).resume(state))) == 4


def test_whole_batches_are_never_cut(pack):
    order = Groups("experiment", each=4)
    for rank in range(3):
        loader = batches(pack, batch_size=8, shuffle=order, share=Share(rank, 3))
        told = loader.course.units.codes("experiment")
        for step in loader.course.steps(loader.course.start(0)):
            assert sorted(np.bincount(told[step.sites])[np.bincount(told[step.sites]) > 0]) == [4, 4]
    with pytest.raises(RecipeError, match="cannot be spread"):
        batches(pack, batch_size=8, shuffle=order, settings=LoadSettings(last="spread"))
