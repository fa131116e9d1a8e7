"""PaddleClas's networks: building them, their heads, the learning rates of their stages, and the table of them."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
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


FIVE = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Learning-rate multipliers, as many as most networks have stages."""


# ---- building


def test_parameter_names_do_not_depend_on_what_was_built_before() -> None:
    for multipliers in (None, (0.1, 0.2, 0.3, 0.4, 0.5)):
        first, second = (zoo.build("ResNet18_vd", class_count=2, lr_mult=multipliers)[0] for _ in range(2))
        assert [p.name for p in first.parameters()] == [p.name for p in second.parameters()]


def test_an_unknown_network_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"did you mean .*ResNet50_vd"):
        zoo.build("ResNet50vd", class_count=2)
    with pytest.raises(ConfigError, match="no network named '__builtins__'"):
        zoo.build("__builtins__", class_count=2)


def test_a_network_that_has_no_classes_is_said() -> None:
    for name in ("AdaFace_IR_18", "cae_base_patch16_224", "WideResNet", "EVA_vit_giant_patch14"):
        for multipliers in (None, FIVE):
            with pytest.raises(ConfigError, match=f"{name} is no classifier with a number of classes"):
                zoo.build(name, class_count=2, lr_mult=multipliers)


def test_no_network_fetches_weights_or_talks_unasked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """UniFormer's function does, if nothing is said, and reads them with Python's own unpickler."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    for multipliers in (None, FIVE):
        zoo.build("UniFormer_small", class_count=2, lr_mult=multipliers)
    assert capsys.readouterr() == ("", "")


# ---- learning rates by depth


def rates(network: Any) -> dict[str, float]:
    """The rate of each layer with parameters, by the layer's name."""
    return {n.rpartition(".")[0]: round(p.optimize_attr["learning_rate"], 9) for n, p in network.named_parameters()}


def test_networks_with_a_rule_of_their_own_follow_it() -> None:
    multipliers = (0.5, 0.5, 0.6, 0.6, 0.8)
    network, used = zoo.build("ResNet18_vd", class_count=2, lr_mult=multipliers)
    assert used
    assert {p.optimize_attr["learning_rate"] for p in network.parameters()} == {0.5, 0.6, 0.8, 1.0}


@pytest.mark.parametrize(
    "name",
    ["MobileNetV3_small_x0_35", "PPLCNet_x0_25", "DenseNet121", "DeiT_tiny_patch16_224", "PVT_V2_B0"],
)
def test_other_networks_learn_faster_towards_the_answer_and_the_head_fastest(name: str) -> None:
    network, used = zoo.build(name, class_count=7, lr_mult=FIVE)
    assert used
    assert {*rates(network).values()} == {*FIVE, 1.0}
    head, layer = zoo.head_of(network)
    assert {p.optimize_attr["learning_rate"] for p in layer.parameters()} == {1.0}
    in_order = [rate for layer, rate in rates(network).items() if layer != head and rate < 1]
    assert in_order[0] == 0.1
    assert in_order[-1] == 0.5


def test_the_stages_of_most_networks_are_where_the_picture_shrinks() -> None:
    found = rates(zoo.build("VGG11", class_count=7, lr_mult=FIVE)[0])
    assert [found[f"conv_block_{block}.conv1"] for block in range(1, 6)] == [*FIVE]
    assert {found["fc1"], found["fc2"]} == {0.5}
    found = rates(zoo.build("SwinTransformer_tiny_patch4_window7_224", class_count=7, lr_mult=FIVE)[0])
    assert found["patch_embed.proj"] == 0.1  # Swin has four stages: its stem is the fifth
    assert [found[f"layers.{stage}.blocks.0.mlp.fc1"] for stage in range(4)] == [0.2, 0.3, 0.4, 0.5]
    assert found["layers.0.blocks.0.attn"] == 0.2  # a table of positions, which is no layer's


def test_a_network_without_stages_is_divided_by_depth() -> None:
    network, used = zoo.build("DeiT_tiny_patch16_224", class_count=7, lr_mult=(0.2, 0.3, 0.4))
    assert used
    found = rates(network)
    assert found[""] == found["patch_embed.proj"] == found["blocks.0.mlp.fc1"] == 0.2  # the tokens, too
    assert found["blocks.11.mlp.fc1"] == found["norm"] == 0.4
    assert [found[f"blocks.{block}.attn.qkv"] for block in range(12)] == [0.2] * 4 + [0.3] * 4 + [0.4] * 4


@pytest.mark.parametrize("name", ["SqueezeNet1_0", "DeiT_tiny_distilled_patch16_224"])
def test_where_no_head_is_found_the_multipliers_are_not_used(name: str) -> None:
    network, used = zoo.build(name, class_count=7, lr_mult=FIVE)
    assert not used
    assert {*rates(network).values()} == {1.0}


def test_finding_the_stages_changes_no_weight() -> None:
    import paddle

    for multipliers in (None, FIVE):
        paddle.seed(7)
        state = zoo.build("PPLCNet_x0_25", class_count=7, lr_mult=multipliers)[0].state_dict()
        if multipliers is None:
            before = state
    for key, value in before.items():
        np.testing.assert_array_equal(state[key].numpy(), value.numpy())


# ---- the table


def test_the_table_holds_what_is_installed() -> None:
    assert list(zoo.catalogue()) == zoo.architectures()


def test_the_addresses_in_the_table_are_paddleclass_own() -> None:
    from garbage_cli.vendor import backbones

    module = backbones("a test")
    for name, network in zoo.catalogue().items():
        own = getattr(sys.modules[getattr(module, name).__module__], "MODEL_URLS", {}).get(name, "")
        if name not in ("PPHGNet_base", "SE_HRNet_W64_C"):  # for which it has none, and its README has
            assert network.weights == own


def test_ssld_weights_are_only_where_they_are_published() -> None:
    """PaddleClas's documents list 35; it makes an address for any network, which leads nowhere for the others."""
    distilled = {name for name, network in zoo.catalogue().items() if network.ssld}
    assert len(distilled) == 35
    assert {"ResNet50_vd", "PPLCNet_x1_0", "GhostNet_x1_3", "PPHGNetV2_B0", "NextViT_small_224"} <= distilled
    assert not distilled & {"ResNet50", "ResNet18_vd", "PPLCNet_x0_25", "DenseNet121"}
    for name in distilled:
        assert zoo.weights_url(name, ssld=True).endswith(f"/{name}_ssld_pretrained.pdparams")
    with pytest.raises(
        ConfigError, match=r"no SSLD weights for DenseNet121; use --pretrained imagenet, none, or a file"
    ):
        zoo.weights_url("DenseNet121", ssld=True)
    assert zoo.weights_url("DenseNet121", ssld=False).endswith("/DenseNet121_pretrained.pdparams")
    with pytest.raises(ConfigError, match="no weights for WideResNet"):
        zoo.weights_url("WideResNet", ssld=False)
    with pytest.raises(ConfigError, match="did you mean ResNet50_vd"):
        zoo.weights_url("ResNet50_vdd", ssld=True)


def counting() -> ModuleType:
    """The script that made the table."""
    path = Path(__file__).parents[1] / "benchmarks" / "count_networks.py"
    spec = importlib.util.spec_from_file_location("count_networks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def check_row(name: str) -> None:
    row = zoo.catalogue()[name]
    assert counting().count(name) == (row.pixels, row.parameters, row.multiply_adds)


def test_the_counts_of_a_row_are_true() -> None:
    check_row("PPLCNet_x0_25")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "ResNet50_vd",
        "MobileNetV3_small_x0_35",
        "SwinTransformer_tiny_patch4_window7_224",
        "ViT_base_patch16_224",
        "EfficientNetB3",
        "ConvNeXt_tiny",
        "TinyNet_A",
        "PPHGNetV2_B4",
        "pcpvt_small",
        "MobileViT_XS",
        "HRNet_W18_C",
        "TNT_small",
        "alt_gvt_small",
        "SE_HRNet_W64_C",
    ],
)
def test_the_counts_of_a_sample_of_rows_are_true(name: str) -> None:
    check_row(name)


def test_a_count_is_what_a_hand_counts() -> None:
    import paddle

    module = counting()
    convolution = paddle.nn.Conv2D(8, 16, 3, groups=4)
    linear = paddle.nn.Linear(10, 5)
    with module.counting() as counter:
        convolution(paddle.ones([1, 8, 6, 6]))
        assert counter.total == 16 * 4 * 4 * (8 // 4) * 3 * 3
        linear(paddle.ones([2, 10]))
        assert counter.total == 4608 + 2 * 10 * 5
        paddle.ones([2, 3, 4]) @ paddle.ones([2, 4, 5])
        paddle.matmul(paddle.ones([2, 4, 3]), paddle.ones([2, 4, 5]), transpose_x=True)
        assert counter.total == 4708 + 2 * (2 * 3 * 4 * 5)
        paddle.nn.functional.scaled_dot_product_attention(*[paddle.ones([1, 6, 2, 4])] * 3)
        assert counter.total == 4948 + 2 * (2 * 6 * 6 * 4)
    paddle.ones([2, 3]) @ paddle.ones([3, 2])
    assert counter.total == 5524
