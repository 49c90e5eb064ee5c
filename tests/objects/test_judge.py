"""The judge of proposals: its arithmetic against scikit-learn, its way into a package and out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

from phenostream.errors import NotFiniteError, WrongShapeError
from phenostream.objects.facts import FACTS
from phenostream.objects.judge import Judge

WIDTH = len(FACTS)


def judge(members=3, units=5, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (WIDTH,), (WIDTH,), (members, units, WIDTH), (members, units), (members, units), (members,)
    numbers = [rng.normal(size=shape) for shape in shapes]
    numbers[1] = 0.5 + np.abs(numbers[1])
    return Judge(*numbers)


def test_one_member_is_a_perceptron():
    rng = np.random.default_rng(1)
    facts = rng.uniform(-3, 3, (200, WIDTH))
    model = MLPClassifier((7,), max_iter=30, random_state=0, tol=1e9).fit(facts, facts[:, 0] > 0)
    (hidden, output), (hidden_bias, output_bias) = model.coefs_, model.intercepts_
    mine = Judge(np.zeros(WIDTH), np.ones(WIDTH), hidden.T[None], hidden_bias[None], output.T, output_bias)
    assert np.allclose(mine(facts), model.predict_proba(facts)[:, 1], atol=1e-9)


def test_members_are_averaged_and_far_facts_tell_no_more():
    facts = np.random.default_rng(2).normal(size=(50, WIDTH))
    many = judge()
    alone = [Judge(many.middle, many.spread, *(part[one : one + 1] for part in many[2:])) for one in range(3)]
    assert np.allclose(many(facts), np.mean([one(facts) for one in alone], axis=0))
    far = many.middle + 4 * many.spread * np.sign(facts)
    assert np.allclose(many(far), many(many.middle + 1e3 * many.spread * np.sign(facts)))
    assert many(np.zeros((0, WIDTH))).shape == (0,)


def test_to_tensors_and_back():
    one = judge()
    tensors = {"unet.stem.0.weight": np.zeros(3), **one.tensors()}
    facts = np.random.default_rng(3).normal(size=(20, WIDTH))
    assert np.allclose(Judge.of(tensors)(facts), one(facts), atol=1e-5)
    assert Judge.of({"unet.stem.0.weight": np.zeros(3)}) is None


def test_a_judge_that_does_not_fit_is_no_silent_none():
    tensors = judge().tensors()
    without = {name: value for name, value in tensors.items() if name != "judge.output"}
    for wrong in (
        {**tensors, "judge.middle": np.zeros(WIDTH + 1)},  # of other facts
        {**tensors, "judge.output": np.zeros((3, 6))},
        {**tensors, "judge.more": np.zeros(3)},
        without,
    ):
        with pytest.raises(WrongShapeError, match=f"{WIDTH} facts"):
            Judge.of(wrong)
    with pytest.raises(NotFiniteError, match="NaN"):
        Judge.of({**tensors, "judge.output_bias": np.full(3, np.nan)})
