"""PaddleHub's config.json → what a server is started with, and a sentence for each thing in it that does not count.

Knows the file's keys and PaddleHub's documented rules over them. Does not know how a server is started. Whatever the
file names (a folder, a version, a source) is not opened, looked up or fetched.
"""

import difflib
import json
import re
import stat
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from garbage_cli.errors import ConfigError
from garbage_cli.vendor import available_cores

MODULES = ("garbage_classification", "clas_system")
"""The modules that this server answers for: the source document's, and PaddleClas's own."""
DEFAULT_PORT = 8866
MAX_BYTES = 1 << 20
MAX_WORKERS = 1024
SHOWN = 5
"""Names in one sentence; the rest are counted."""


@dataclass(frozen=True, slots=True)
class HubStart:
    """What a config.json asks for, once PaddleHub's rules have been applied."""

    port: int = DEFAULT_PORT
    workers: int = 1
    use_gpu: bool = False
    enable_mkldnn: bool = False
    top_k: int | None = None
    """How many classes a request without a top_k is answered; None means the server's own number."""
    modules: tuple[str, ...] = ()
    """Those of the file that are served, in its order."""
    notes: tuple[str, ...] = ()
    """A sentence for each thing that is excluded or ignored."""


def read_hub_config(path: Path, *, given: Collection[str] = frozenset()) -> HubStart:
    """Read a config.json; raise ConfigError that names the file, the key, the value and the remedy.

    `given` are the options typed beside --config that a config.json has words for, or that choose the engine: --port,
    --workers, --top-k, --engine, --precision, --set. PaddleHub's rule is that they are ignored then, and each is noted.
    Options that it has no word for (--host, --model, --api-key-file, the limits) don't belong into `given`: they count.

    Without `workers`, use_multiprocess starts 2 x cores - 1 of them, as PaddleHub documents (its code has + 1); cores
    are those this process may use. UTF-8 and UTF-16 are read with or without their mark, and GBK.
    """
    top = _Object(path, "", _read(path))
    infos = top.section("modules_info", required=True)
    served = _served(infos)
    module, *twins = (_Module.read(infos.section(name)) for name in served)
    use_gpu = top.flag("use_gpu") or module.use_gpu
    asked = top.whole("workers", low=1, high=MAX_WORKERS)
    parallel = top.flag("use_multiprocess") and not use_gpu
    notes = [
        *(_overruled(option) for option in sorted(given)),
        *_processes(top, use_gpu, asked),
        *_gpu(top, use_gpu, module.enable_mkldnn),
        *module.notes,
        *(_twin(served) for twin in twins[:1] if twin.settings != module.settings),
        *_strangers(infos, served),
        *top.unknown("modules_info", "port", "use_multiprocess", "workers", "use_gpu", "gpu"),
    ]
    return HubStart(
        port=_or(top.whole("port", low=0, high=65535), DEFAULT_PORT),
        workers=_or(asked, min(MAX_WORKERS, 2 * available_cores() - 1)) if parallel else 1,
        use_gpu=use_gpu,
        enable_mkldnn=module.enable_mkldnn and not use_gpu,
        top_k=module.top_k,
        modules=served,
        notes=tuple(notes),
    )


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


# ---- the rules


def _processes(top: "_Object", use_gpu: bool, asked: int | None) -> list[str]:
    if top.flag("use_multiprocess"):
        return ["use_multiprocess is ignored: use_gpu excludes it, so there is one worker"] if use_gpu else []
    if asked in (None, 1):
        return []
    return [f"workers ({asked}) is ignored: it counts with use_multiprocess only, so there is one worker"]


def _gpu(top: "_Object", use_gpu: bool, enable_mkldnn: bool) -> list[str]:
    notes = ["enable_mkldnn is ignored: use_gpu wins over it"] if use_gpu and enable_mkldnn else []
    if top.flag("use_gpu"):
        notes.append('use_gpu beside modules_info makes PaddleHub answer in "msg"; here the answers stay in "results"')
    if (cards := top.cards("gpu")) is None:
        return notes
    if not use_gpu:
        return [*notes, f'gpu ("{cards}") is ignored: without use_gpu no GPU is used']
    return [*notes, f'gpu ("{cards}") is ignored: set the variable CUDA_VISIBLE_DEVICES={cards} to choose the GPU']


def _overruled(option: str) -> str:
    key = _WORDS.get(option)
    remedy = f"write {key} in the file, or leave --config out" if key else "leave --config out to use it"
    return f"{option} is ignored: a config file counts before it; {remedy}"


_WORDS = {
    "--port": "port",
    "--workers": "use_multiprocess and workers",
    "--engine": "use_gpu or enable_mkldnn",
    "--top-k": "predict_args.top_k",
}
"""What an option is called in the file."""


def _served(infos: "_Object") -> tuple[str, ...]:
    names = tuple(name for name in infos.values if name in MODULES)
    if names:
        return names
    found = f"names {_listed(infos.values)}" if infos.values else "names no module"
    raise ConfigError(f"{infos.path}: modules_info {found}; what is served here is {' and '.join(MODULES)}")


def _strangers(infos: "_Object", served: Collection[str]) -> list[str]:
    others = [name for name in infos.values if name not in served]
    answer = "answers" if len(others) == 1 else "answer"
    return [f"{_listed(others)} of modules_info {answer} 111 (not available): no such model here"] if others else []


def _twin(served: tuple[str, ...]) -> str:
    first, second = served[:2]
    return f"the arguments of {second} are ignored: both names answer with one model, and those of {first} come first"


@dataclass(frozen=True, slots=True)
class _Module:
    """The arguments of one module."""

    use_gpu: bool
    enable_mkldnn: bool
    top_k: int | None
    notes: tuple[str, ...]

    @property
    def settings(self) -> tuple[object, ...]:
        return self.use_gpu, self.enable_mkldnn, self.top_k

    @classmethod
    def read(cls, module: "_Object") -> "_Module":
        init, predict = module.section("init_args"), module.section("predict_args")
        notes = [
            *_sources(init),
            *init.unknown("use_gpu", "enable_mkldnn", *_SOURCES),
            *predict.unknown("top_k"),
            *module.unknown("init_args", "predict_args"),
        ]
        top_k = predict.whole("top_k", low=1, nullable=True)
        return cls(init.flag("use_gpu"), init.flag("enable_mkldnn"), top_k, tuple(notes))


_SOURCES = ("version", "directory", "name", "source", "branch", "update", "ignore_env_mismatch")
"""With which init_args PaddleHub chooses the module that it loads, or fetches."""


def _sources(init: "_Object") -> list[str]:
    found = [f"{key} ({_shown(init.values[key])})" for key in _SOURCES if key in init.values]
    are = "is" if len(found) == 1 else "are"
    return [f"{', '.join(found)} of init_args {are} not looked at: the model is that of --model"] if found else []


# ---- the file


@dataclass(frozen=True, slots=True)
class _Object:
    """An object of the file, under the name that messages call it by."""

    path: Path
    name: str
    values: Mapping[str, Any]

    def section(self, key: str, *, required: bool = False) -> "_Object":
        if required and key not in self.values:
            example = '{"modules_info": {"garbage_classification": {"init_args": {}, "predict_args": {}}}}'
            raise ConfigError(f"{self.path}: the key {key} is missing; the least is {example}")
        value = self.values.get(key, {})
        if not isinstance(value, dict):
            raise self._wrong(key, "it must be an object: {…}")
        return _Object(self.path, self._full(key), value)

    def flag(self, key: str) -> bool:
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise self._wrong(key, "write true or false, without quotes")
        return value

    def whole(self, key: str, *, low: int, high: int | None = None, nullable: bool = False) -> int | None:
        if key not in self.values or (nullable and self.values[key] is None):
            return None
        value = self.values[key]
        if type(value) is int and low <= value and (high is None or value <= high):  # true is no number
            return value
        bounds = f"from {low}" if high is None else f"from {low} to {high}"
        raise self._wrong(key, f"write a whole number {bounds}, without quotes")

    def cards(self, key: str) -> str | None:
        value = self.values.get(key)
        if value is None or (isinstance(value, str) and re.fullmatch(r"[0-9]{1,3}(,[0-9]{1,3}){0,63}", value)):
            return value
        raise self._wrong(key, 'write the numbers of the GPUs in quotes, as "0" or "0,1"')

    def unknown(self, *known: str) -> list[str]:
        strange = [key for key in self.values if key not in known]
        if not strange:
            return []
        near = difflib.get_close_matches(strange[0][:40], known, n=1, cutoff=0.7)
        meant = f" (did you mean {near[0]}?)" if near else ""
        place, are = f" of {self.name}" if self.name else "", "is" if len(strange) == 1 else "are"
        return [f"{_listed(strange)}{place} {are} unknown here, and ignored{meant}"]

    def _full(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key

    def _wrong(self, key: str, remedy: str) -> ConfigError:
        return ConfigError(f"{self.path}: {self._full(key)} is {_shown(self.values[key])}; {remedy}")


def _read(path: Path) -> Mapping[str, Any]:
    text = _text(path)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}: {error.msg}"
        hint = "correct it there: JSON has no comments, and no comma after a last entry"
        raise ConfigError(f"{path} is not valid JSON ({place}); {hint}") from None
    except (ValueError, RecursionError):  # a number of thousands of digits; brackets in brackets in brackets
        raise ConfigError(f"{path} is no config.json: it nests too deep, or a number in it is too long") from None
    if not isinstance(value, dict):
        raise ConfigError(f'{path} holds {_shown(value)}, not an object: {{"modules_info": {{…}}, "port": 8866}}')
    return value


def _text(path: Path) -> str:
    data = _bytes(path)
    for encoding in (json.detect_encoding(data), "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ConfigError(f"{path} is neither UTF-8 nor GBK text; save it as UTF-8")


def _bytes(path: Path) -> bytes:
    """Read a regular file of a config's size; a pipe could make a server wait for ever."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise ConfigError(f"{path} is {kind}; give --config the config.json itself")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}; give --config a config.json that can be read") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(
            f"{path} has more than {MAX_BYTES:,} bytes, which no config.json needs: is it the right file?"
        )
    return data


def _shown(value: object) -> str:
    """A value as the file has it, shortened, control characters as codes; a list or an object is only called so."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    start = value[:60] if isinstance(value, str) else value
    text = json.dumps(start, ensure_ascii=isinstance(start, str) and not start.isprintable())
    return text if len(text) <= 60 else f"{text[:60]}…"


def _listed(names: Iterable[str]) -> str:
    """Names as they can be printed, the first few of them."""
    every = list(names)
    shown = [name if re.fullmatch(r"[\w.-]{1,60}", name) else _shown(name) for name in every[:SHOWN]]
    return ", ".join(shown) + (f" and {len(every) - SHOWN} more" if len(every) > SHOWN else "")
