from __future__ import annotations

import pytest
from pydantic import ValidationError

from phenostream.training import FitSettings
from phenostream.training.settings import FREE


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0}, {"batch_size": "big"}, {"epochs": 0}, {"learning_rate": 0}, {"ema": 1.0}, {"warmup": 1.0},
        {"patience": 3}, {"schedule": "steps"}, {"epoch": 3}, {"clip": -1},
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FitSettings(**wrong)


def test_free_settings_are_settings_and_do_not_decide() -> None:
    assert set(FitSettings.model_fields) >= FREE
    assert FitSettings(workers=3, log_every=7).deciding() == FitSettings().deciding()
    assert FitSettings(epochs=3).deciding() != FitSettings().deciding()
