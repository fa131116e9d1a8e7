"""Depthwise convolutions as products, against Paddle's own."""

import numpy as np
import pytest

from garbage_cli import zoo
from garbage_cli.depthwise import SMALL, use_products


def pair(**settings: object) -> tuple[object, object]:
    """A network of one depthwise convolution, and the same one that has been given products."""
    import paddle

    made = []
    for _ in range(2):
        paddle.seed(3)
        made.append(paddle.nn.Sequential(paddle.nn.Conv2D(6, 6, groups=6, **settings)))
    assert use_products(made[1]) == 1
    return made[0], made[1]


@pytest.mark.parametrize("bias", [False, None], ids=["no-bias", "bias"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (7, 7), (5, 8), (10, 10)], ids=str)
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (5, 1, 2), (5, 2, 2), (1, 1, 0), (2, 2, 1)]
)
def test_answers_and_gradients_are_paddles(
    kernel: int, stride: int, padding: int, shape: tuple[int, int], bias: bool | None
) -> None:
    import paddle

    plain, other = pair(kernel_size=kernel, stride=stride, padding=padding, bias_attr=bias)
    assert plain.state_dict().keys() == other.state_dict().keys()
    values = np.random.default_rng(0).normal(size=(3, 6, *shape)).astype(np.float32)
    found = []
    for network in (plain, other):
        x = paddle.to_tensor(values, stop_gradient=False)
        answer = network(x)
        slope = np.random.default_rng(1).normal(size=answer.shape).astype(np.float32)
        (answer * paddle.to_tensor(slope)).sum().backward()
        found.append([each.numpy() for each in (answer, x.grad, *(p.grad for p in network.parameters()))])
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-4, atol=1e-5)


def test_a_big_map_goes_the_usual_way(monkeypatch: pytest.MonkeyPatch) -> None:
    import paddle

    from garbage_cli import depthwise

    asked = []
    monkeypatch.setattr(depthwise, "_product", lambda layer, x, *_: asked.append(tuple(x.shape)) or x)
    _, network = pair(kernel_size=3, padding=1)
    side = int(SMALL**0.5)
    for length in (side, side + 1, 56):
        network(paddle.zeros([1, 6, length, length]))
    assert asked == [(1, 6, side, side)]


@pytest.mark.parametrize(
    "settings",
    [
        {"dilation": 2},
        {"padding_mode": "reflect"},
        {"padding": "same"},
        {"data_format": "NHWC"},
        {"stride": (1, 2)},
        {"kernel_size": (3, 1)},
    ],
    ids=str,
)
def test_convolutions_of_other_kinds_are_left_alone(settings: dict[str, object]) -> None:
    import paddle

    layer = paddle.nn.Conv2D(6, 6, groups=6, **{"kernel_size": 3, "padding": 1, **settings})
    assert (
        use_products(paddle.nn.Sequential(layer, paddle.nn.Conv2D(6, 4, 3), paddle.nn.Conv2D(6, 12, 3, groups=6))) == 0
    )
    assert "forward" not in layer.__dict__


def test_a_network_answers_and_is_converted_as_before(tmp_path) -> None:
    import paddle

    from garbage_cli.bundle import ONNX_FILE
    from garbage_cli.conversion import save_onnx, save_program
    from garbage_cli.engines.openvino import OpenVinoEngine

    network, _ = zoo.build("MobileNetV3_small_x0_35", class_count=5)
    network.eval()
    x = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    names = list(network.state_dict())
    before = network(paddle.to_tensor(x)).numpy()
    assert use_products(network) == 11
    assert list(network.state_dict()) == names
    scale = np.abs(before).max()
    np.testing.assert_allclose(network(paddle.to_tensor(x)).numpy(), before, atol=1e-4 * scale)
    save_program(network, tmp_path, crop=32)
    save_onnx(tmp_path)
    np.testing.assert_allclose(OpenVinoEngine(tmp_path / ONNX_FILE, threads=0).infer(x), before, atol=1e-4 * scale)
    import onnx

    nodes = [node.op_type for node in onnx.load(tmp_path / ONNX_FILE).graph.node]
    assert "MatMul" not in nodes[: nodes.index("GlobalAveragePool")]
