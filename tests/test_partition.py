"""Networks cut in two, against the whole."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from garbage_cli import partition, zoo
from garbage_cli.errors import ConfigError
from garbage_cli.features.front import in_openvino
from garbage_cli.partition import Cut, cut

SMALL = [("ResNet18_vd", 64), ("MobileNetV3_small_x0_35", 32), ("PPLCNet_x0_25", 64), ("ShuffleNetV2_x0_25", 64)]
BIG = [
    ("MobileNetV2_x0_25", 64), ("AlexNet", 224), ("DenseNet121", 64), ("GhostNet_x0_5", 64), ("RepVGG_A0", 64),
    ("GoogLeNet", 224), ("EfficientNetB0_small", 64), ("PPHGNet_tiny", 64), ("DeiT_tiny_patch16_224", 224),
    ("LeViT_128S", 224), ("MobileViT_XXS", 64), ("SwinTransformer_tiny_patch4_window7_224", 224),
]  # fmt: skip
ALL = [pytest.param(*each, id=each[0]) for each in SMALL] + [
    pytest.param(*each, id=each[0], marks=pytest.mark.slow) for each in BIG
]


def made(name: str, crop: int, part: Any) -> tuple[Any, Cut]:
    network, _ = zoo.build(name, class_count=5)
    head, _ = zoo.head_of(network, pixels=crop)
    return network, cut(network, part=part, head=head, crop=crop)


def main(output: Any) -> Any:
    return output[0] if isinstance(output, list | tuple) else output


@pytest.mark.parametrize("part", ["head", "last-stage"])
@pytest.mark.parametrize(("name", "crop"), ALL)
def test_the_two_parts_answer_as_the_whole_and_only_the_rest_is_trained(name: str, crop: int, part: str) -> None:
    import paddle

    network, found = made(name, crop, part)
    network.eval()
    inputs = paddle.to_tensor(np.random.default_rng(1).normal(size=(3, 3, crop, crop)).astype(np.float32))
    with paddle.no_grad():
        whole = main(network(inputs)).numpy()
        crossing = found.front()(inputs)
        assert tuple(crossing.shape) == (3, *found.shape)
        answered = main(found.rest(crossing)).numpy()
    np.testing.assert_allclose(answered, whole, atol=1e-5 * np.abs(whole).max())
    expected = {each.name for each in found.parameters()}
    network.train()
    main(found.rest(crossing)).square().sum().backward()
    names = {parameter.name: name for name, parameter in network.named_parameters()}
    reached = {names[each.name] for each in network.parameters() if each.grad is not None}
    assert reached == {names[each] for each in expected}
    assert 0 < len(reached) < len(names)
    assert not reached & {name for name, _ in found.front_state()}
    if part == "head":
        assert reached == {name for name in names.values() if name.rpartition(".")[0] == found.at}


@pytest.mark.parametrize("part", ["head", "last-stage"])
def test_training_the_rest_leaves_the_front_and_its_statistics_alone(part: str) -> None:
    import paddle

    network, found = made("MobileNetV3_small_x0_35", 32, part)
    before = {name: np.array(value) for name, value in found.front_state()}
    optimizer = paddle.optimizer.Momentum(0.1, parameters=found.parameters())
    network.train()
    for _ in range(2):
        found.rest(paddle.randn([4, *found.shape])).square().sum().backward()
        optimizer.step()
        optimizer.clear_grad()
    for name, value in found.front_state():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


@pytest.mark.parametrize("part", ["head", "last-stage"])
@pytest.mark.parametrize(("name", "crop"), SMALL[:3])
def test_the_front_in_openvino_gives_what_paddle_gives(tmp_path: Path, name: str, crop: int, part: str) -> None:
    import paddle

    _, found = made(name, crop, part)
    run = in_openvino(found, tmp_path, crop)
    inputs = np.random.default_rng(2).normal(size=(5, 3, crop, crop)).astype(np.float32)
    with paddle.no_grad():
        expected = found.front()(paddle.to_tensor(inputs)).numpy()
    np.testing.assert_allclose(run(inputs), expected, atol=1e-4 * np.abs(expected).max())


def test_what_crosses_depends_on_the_weights_before_it_alone() -> None:
    network, found = made("PPLCNet_x0_25", 64, "last-stage")
    names = {name for name, _ in found.front_state()}
    assert names < network.state_dict().keys()
    assert {"conv1.conv.weight", "conv1.bn._mean"} <= names
    assert not any(name.startswith(("fc.", "blocks6.")) for name in names)


def test_a_network_that_cannot_be_cut_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "_agrees", lambda *_: False)
    for part in ("head", "last-stage"):
        with pytest.raises(ConfigError, match=r"can't be cut before its (head|last stage); use --tune full"):
            made("MobileNetV3_small_x0_35", 32, part)


def test_a_network_whose_head_was_looked_into_is_left_as_it_was() -> None:
    network, _ = made("MobileNetV3_small_x0_35", 32, "last-stage")
    assert not [name for name, layer in network.named_sublayers() if "forward" in layer.__dict__]
    assert all(each.grad is None for each in network.parameters())


def test_a_network_of_windows_is_cut_at_its_maps() -> None:
    import paddle

    class Windows(paddle.nn.Layer):
        """Attention's windows stand in the place of photos, and are not maps."""

        def __init__(self) -> None:
            super().__init__()
            self.stem = paddle.nn.Conv2D(3, 4, 4, stride=4)
            self.inside = paddle.nn.Linear(4, 4)
            self.down = paddle.nn.Conv2D(4, 8, 2, stride=2)
            self.head = paddle.nn.Linear(8, 5)

        def forward(self, x: Any) -> Any:
            x = self.stem(x)
            windows = self.inside(x.reshape([x.shape[0], 4, -1]).transpose([0, 2, 1]).reshape([-1, 4, 4]))
            x = x + windows.mean()
            return self.head(self.down(x).mean(axis=[2, 3]))

    found = cut(Windows(), part="last-stage", head="head", crop=32)
    assert found.at == "stem"
