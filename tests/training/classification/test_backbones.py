"""Backbones by name."""

import pytest
import torch

from phenostream.errors import RecipeError
from phenostream.training.classification import backbones


def test_the_folder_is_the_registry() -> None:
    assert {"convnext", "efficientnet", "resnet"} <= set(backbones.names())
    assert "unet" not in backbones.names()


@pytest.mark.parametrize(
    ("name", "shape"),
    [("resnet", {"depth": 18, "width": 4}), ("convnext", {"size": "atto"}), ("efficientnet", {"stem": "small"})],
)
def test_a_backbone_gives_as_many_features_as_it_says(name: str, shape: dict) -> None:
    network, width = backbones.build(name, 5, shape)
    assert network.eval()(torch.zeros(2, 5, 64, 64)).shape == (2, width)


def test_faults_are_named() -> None:
    with pytest.raises(RecipeError, match=r"no backbone 'vgg'.*resnet"):
        backbones.settings("vgg", {})
    with pytest.raises(RecipeError, match="no backbone 'unet'"):
        backbones.settings("unet", {})
    with pytest.raises(RecipeError, match=r"resnet: depth.*its keys are: depth, width, stem"):
        backbones.settings("resnet", {"depth": 19})
