"""The generated screen: the same each time, with the effects, batches and troubles that it says."""

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest

from phenostream.errors import RecipeError
from phenostream.synthetic.screen import ScreenDesign, effect_of, fields, light_of, pixels, sites, write_screen

DESIGN = ScreenDesign()


@pytest.fixture(scope="module")
def screen():
    """Sites that have images, their pixels' channel means, and a few plain numbers of each."""
    found = [site for site in sites(DESIGN) if site.trouble != "missing"]
    stacks = np.stack([pixels(DESIGN, site) for site in found]).astype(float)
    flat = stacks.reshape(*stacks.shape[:2], -1)
    numbers = [flat.mean(axis=2), flat.std(axis=2), np.abs(np.diff(stacks, axis=3)).mean(axis=(2, 3))]
    return found, flat.mean(axis=2), np.log(np.concatenate(numbers, axis=1) + 0.3)


def test_a_site_is_the_same_whichever_others_are_made():
    some = sites(DESIGN)[7]
    assert np.array_equal(pixels(DESIGN, some), pixels(DESIGN, some))
    fewer = replace(DESIGN, sites=1)
    assert np.array_equal(pixels(fewer, some), pixels(DESIGN, some))
    assert not np.array_equal(pixels(replace(DESIGN, seed=1), some), pixels(DESIGN, some))
    assert pixels(DESIGN, some).shape == (6, 64, 64)
    assert pixels(DESIGN, some).dtype == np.uint8


def test_the_layout_is_that_of_rxrx1():
    """A perturbation once an experiment, in groups that share a plate; wells anew each time; controls everywhere."""
    found = [site for site in sites(DESIGN) if site.site == 1]
    for experiment in DESIGN.experiments:
        own = [site for site in found if site.experiment == experiment]
        assert sorted(s.sirna_id for s in own if s.well_type == "treatment") == list(range(DESIGN.perturbations))
        for plate in range(1, DESIGN.plates + 1):
            kinds = Counter(site.well_type for site in own if site.plate == plate)
            assert (kinds["positive_control"], kinds["negative_control"]) == (DESIGN.positives, DESIGN.negatives)
    groups = defaultdict(set)
    for site in found:
        if site.well_type == "treatment":
            groups[site.experiment, site.plate].add(site.sirna_id)
    assert len({frozenset(group) for group in groups.values()}) == DESIGN.plates
    wells = {site.well for site in found if site.sirna_id == 0}
    assert len(wells) > 1
    assert all("B" <= well[0] <= "O" and 2 <= int(well[1:]) <= 23 for well in wells)


def test_brightness_spreads_as_in_real_experiments(screen):
    """Published of RxRx1: brightest over dimmest experiment 7 to 38 in each channel; means of 1 to 56 grey levels."""
    found, means, _ = screen
    by = {name: means[[site.experiment == name for site in found]].mean(axis=0) for name in DESIGN.experiments}
    table = np.stack(list(by.values()))
    assert ((table.max(axis=0) / table.min(axis=0) > 7) & (table.max(axis=0) / table.min(axis=0) < 38)).all()
    assert ((table > 0.8) & (table < 56)).all()


def test_batches_hide_perturbations_and_normalisation_shows_them(screen):
    """On experiments never seen: raw numbers say little, numbers normalised by experiment say much."""
    from sklearn.linear_model import LogisticRegression

    found, _, numbers = screen
    label = np.array([site.sirna_id for site in found])
    batch = np.array([site.experiment for site in found])
    treated = np.array([site.well_type == "treatment" for site in found])
    train = np.array([site.dataset == "train" for site in found])
    centred = numbers.copy()
    for name in DESIGN.experiments:
        own = numbers[batch == name]
        centred[batch == name] = (own - own.mean(axis=0)) / own.std(axis=0)

    def accuracy(values):
        model = LogisticRegression(max_iter=2000).fit(values[treated & train], label[treated & train])
        return (model.predict(values[treated & ~train]) == label[treated & ~train]).mean()

    assert accuracy(centred) > 0.6
    assert accuracy(numbers) < accuracy(centred) - 0.3


def test_without_strength_there_is_nothing_to_learn():
    none = effect_of(replace(DESIGN, strength=0.0), 3)
    assert (none.count, none.size, none.elongation) == (1.0, 1.0, 1.0)
    assert (none.level == 1).all()
    untreated = effect_of(DESIGN, DESIGN.perturbations + DESIGN.positives)
    assert (untreated.level == 1).all()
    assert (untreated.grain == 1).all()


def test_light_is_an_experiments_and_a_little_a_plates():
    first = light_of(DESIGN, "HUVEC-01", 1).gain
    same, other = light_of(DESIGN, "HUVEC-01", 2).gain, light_of(DESIGN, "RPE-02", 1).gain
    assert np.abs(np.log(first / same)).mean() < np.abs(np.log(first / other)).mean()


def test_troubles_are_as_many_as_asked_for():
    many = replace(DESIGN, missing=0.2, dead=0.3, plates=4, perturbations=80)
    troubles = Counter(site.trouble for site in sites(many))
    total = sum(troubles.values())
    assert 0.15 < troubles["missing"] / total < 0.25
    assert troubles["dead"] / total > 0.12
    dead = [site for site in sites(many) if site.trouble == "dead"][:20]
    alive = [replace(site, trouble="") for site in dead]
    assert np.mean([pixels(many, site).mean() for site in dead]) < 0.6 * np.mean(
        [pixels(many, s).mean() for s in alive]
    )
    assert len(fields(many)) == total - troubles["missing"]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("do not lose")
    with pytest.raises(RecipeError, match="not empty"):
        write_screen(tmp_path, DESIGN)


@pytest.mark.parametrize(
    "wrong",
    [{"experiments": ("HELA-01",), "test_experiments": ()}, {"test_experiments": ("RPE-99",)}, {"perturbations": 700}],
)
def test_what_is_no_screen_is_refused(wrong):
    with pytest.raises(RecipeError):
        ScreenDesign(**wrong)
