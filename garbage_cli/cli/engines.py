"""The options by which an engine is chosen, which `predict`, `serve` and `evaluate` share."""

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from garbage_cli.engines import Options

Engine = Annotated[str, typer.Option("--engine", help="auto (the fastest here), openvino, onnxruntime or paddle.")]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        help="Numbers to compute in: auto, f32, bf16 or int8. auto loses no more than 0.5 points of top-1.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="For the engine: use_gpu, gpu_id, gpu_mem, use_tensorrt, enable_mkldnn (Paddle), cpu_num_threads.",
        show_default=False,
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say which engine was taken, and why.")]


def options(settings: list[str] | None) -> "Options":
    """Turn KEY=VALUE texts into options; raise ConfigError for a key or value that is none."""
    from garbage_cli.config import parse_override
    from garbage_cli.engines import Options
    from garbage_cli.errors import ConfigError

    kinds = {each.name: type(each.default) for each in fields(Options)}
    given: dict[str, Any] = {}
    for text in settings or []:
        if "=" not in text:
            raise ConfigError(f"--set {text}: write it as KEY=VALUE, for example cpu_num_threads=1")
        key, value = parse_override(text)
        if key not in kinds:
            raise ConfigError(f"--set {text}: no engine has a setting {key}; use one of {', '.join(kinds)}")
        if type(value) is not kinds[key] or (isinstance(value, int) and value < 0):
            wanted = "true or false" if kinds[key] is bool else "a whole number, 0 or more"
            raise ConfigError(f"--set {text}: {key} is {wanted}")
        given[key] = value
    return Options(**given)
