"""Those who come from rxrx1-utils: each argument of its training program has an equivalent that is really there."""

import re
from pathlib import Path

from phenostream.training import FitSettings
from phenostream.training.networks import resnet
from phenostream.training.tasks.classify import Settings

PAGE = Path(__file__).parents[3] / "docs" / "screen_training.md"
# Of `python -m rxrx.main`, and the depth that only its function takes.
ARGUMENTS = {
    "--use-tpu", "--tpu", "--gcp-project", "--tpu-zone", "--use-cache", "--url-base-path", "--model-dir",
    "--train-epochs", "--num-train-images", "--train-batch-size", "--n-classes", "--epochs-per-loop",
    "--log-step-count-epochs", "--num-cores", "--data-format", "--transpose-input", "--tf-precision", "--momentum",
    "--weight-decay", "--base-learning-rate", "--warmup-epochs", "resnet_depth",
}  # fmt: skip


def rows() -> dict[str, str]:
    """What stands beside each argument in the table."""
    found = {}
    for line in PAGE.read_text().splitlines():
        if line.startswith(("| `--", "| `resnet_depth`")):
            names, told = line.strip("| ").split(" | ", 1)
            found |= dict.fromkeys(re.findall(r"`([^`]+)`", names), told)
    return found


def test_every_argument_stands_in_the_table() -> None:
    assert set(rows()) == ARGUMENTS


def test_what_stands_beside_it_is_there() -> None:
    told = " ".join(rows().values())
    train, settings = (set(re.findall(rf"`{name}\.(\w+)", told)) for name in ("train", "settings"))
    assert {"epochs", "batch_size", "momentum", "learning_rate", "warmup", "weight_decay", "precision"} <= train
    assert train <= set(FitSettings.model_fields)
    assert settings <= set(Settings.model_fields)
    assert "depth" in resnet.Settings.model_fields


def test_every_depth_of_the_original_is_offered() -> None:
    assert {18, 34, 50, 101, 152, 200} == set(resnet.Settings.model_fields["depth"].annotation.__args__)
