"""PaddleClas's networks: building them, their heads, the learning rates of their stages, and weights put into them."""

from typing import Any

import numpy as np
import pytest

from garbage_cli import zoo
from garbage_cli.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("ResNet18_vd", "fc"),
        ("MobileNetV2_x0_25", "out"),
        ("MobileNetV3_small_x0_35", "fc"),
        ("PPLCNet_x0_25", "fc"),
        ("PPHGNet_tiny", "fc"),
        ("EfficientNetB0", "_fc"),
        ("DenseNet121", "out"),
        ("SwinTransformer_tiny_patch4_window7_224", "head"),
        ("DeiT_tiny_patch16_224", "head"),
        ("ShuffleNetV2_x0_25", "_fc"),
        ("GhostNet_x0_5", "fc_1"),
        ("VGG11", "fc3"),
        ("GoogLeNet", "_fc_out"),  # has two auxiliary heads, which run later
        ("LeViT_128S", "head.l"),
        ("RepVGG_A0", "linear"),
        ("ConvNeXt_tiny", "head"),
        ("PVT_V2_B0", "head"),
    ],
)
def test_the_head_is_the_layer_whose_output_is_the_answer(name: str, head: str) -> None:
    network, _ = zoo.build(name, class_count=7)
    found, layer = zoo.head_of(network)
    assert found == head
    assert layer.weight.shape[-1] == 7


@pytest.mark.parametrize("name", ["SqueezeNet1_0", "DeiT_tiny_distilled_patch16_224"])
def test_a_network_whose_answer_is_no_layers_output_has_no_head(name: str) -> None:
    network, _ = zoo.build(name, class_count=7)
    with pytest.raises(ConfigError, match="has no linear layer whose output is its answer"):
        zoo.head_of(network)


def test_a_head_of_pictures_that_a_network_cannot_take_is_said() -> None:
    network, _ = zoo.build("DeiT_tiny_patch16_224", class_count=7)
    with pytest.raises(ConfigError, match=r"can't take inputs of 64 × 64 pixels"):
        zoo.head_of(network, pixels=64)


@pytest.mark.parametrize("name", ["RepVGG_A0", "LeViT_128S", "SwinTransformer_tiny_patch4_window7_224"])
def test_finding_the_head_leaves_the_network_as_it_was(name: str) -> None:
    network, _ = zoo.build(name, class_count=7)
    next(iter(network.sublayers())).eval()

    def facts() -> tuple[Any, ...]:
        return [layer.training for layer in network.sublayers()], [p.name for p in network.parameters()]

    before, tensors = facts(), {key: value.numpy() for key, value in network.state_dict().items()}
    zoo.head_of(network)
    assert facts() == before
    after = network.state_dict()
    assert after.keys() == tensors.keys()
    for key, value in tensors.items():
        np.testing.assert_array_equal(after[key].numpy(), value)
