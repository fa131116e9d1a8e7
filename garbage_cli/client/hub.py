"""The protocol of PaddleHub Serving: a photo in base64 in, class numbers out, HTTP 200 for nearly everything.

Knows the envelope, and the results that modules answer in it: PaddleClas's of three generations, and those of
PaddleHub's own image modules. Does not know HTTP.
"""

import base64
import math
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from garbage_cli.client.labelling import Naming
from garbage_cli.client.sending import Reply, Request, short
from garbage_cli.errors import ServerError
from garbage_cli.labels import THE_40
from garbage_cli.prediction import Prediction, Score
from garbage_cli.wire import HUB_CONTENT_TYPE, HUB_FAILED, HUB_NO_MODULE, HUB_OK, dumps

MODULES = ("garbage_classification", "clas_system")
"""The module of the source document, and PaddleClas's own, which are tried in this order where none is named."""

GREETING = ("暂不提供可视化界面", "No visual interface")
"""What PaddleHub Serving's first page says, in both of its languages."""

_Row = tuple[int, str | None, float]
"""Class number, name if the reply has one, score."""


class Hub:
    """/predict/MODULE of one server."""

    def __init__(self, *, shown: str, top_k: int | None, modules: tuple[str, ...], naming: Naming) -> None:
        """`modules` are asked in this order until one is there; without a `top_k` the module's own counts."""
        self._shown, self._modules, self._naming = shown, modules, naming
        self._wish = {} if top_k is None else {"top_k": top_k}

    @property
    def words(self) -> str:
        """What it is, in a sentence's rest."""
        kinds = "those of --labels" if self._naming.given else "the 40 kinds"
        return (
            f"a PaddleHub: photos go to /predict/{' or /predict/'.join(self._modules)}, its class numbers are {kinds}"
        )

    def requests(self, data: bytes) -> list[Request]:
        """Return a request for each module that may be there; the first one that is answers."""
        body = dumps({"images": [base64.b64encode(data).decode()], **self._wish})
        return [Request(_path(module), body, "application/json; charset=utf-8") for module in self._modules]

    def is_elsewhere(self, reply: Reply) -> bool:
        """Whether the server has no module of this name."""
        value = reply.json()
        return isinstance(value, dict) and value.get("status") == HUB_NO_MODULE

    def settle(self, request: Request) -> None:
        """The module of this request is there; ask no other."""
        self._modules = tuple(module for module in self._modules if _path(module) == request.path)

    def read(self, reply: Reply, image: str) -> Prediction:
        """Return the photo's answer; raise ServerError if the reply is none of PaddleHub's."""
        value = reply.json()
        if reply.status != 200 or not isinstance(value, dict) or "status" not in value:
            said = reply.said or "not a reply of PaddleHub Serving"
            raise ServerError(f"{self._shown} answered {reply.status}: {said}")
        value = _opened(value)
        status, msg, results = value["status"], value.get("msg"), value.get("results")
        if status == HUB_FAILED:
            return Prediction(image, error=_about_one(msg) or "the module failed and does not say why")
        if status == HUB_NO_MODULE:
            names = " or ".join(self._modules)
            raise ServerError(
                f"{self._shown} has no module {names}; "
                f"start it with: hub serving start -m {self._modules[0]}, or name the one it has with --module"
            )
        if status == HUB_CONTENT_TYPE:
            raise ServerError(f"{self._shown} takes no application/json ({short(msg)}); is it a PaddleHub before 2.0?")
        if status != HUB_OK:
            raise ServerError(f"{self._shown} answered status {short(status)}: {short(msg)}")
        if results in ("", None) and isinstance(msg, list | dict):  # so it is on a GPU: the two are swapped
            msg, results = "", msg
        return self._prediction(results, msg, image)

    def _prediction(self, results: object, msg: object, image: str) -> Prediction:
        try:
            rows = sorted(_rows(_only(results)), key=lambda row: -row[2])
        except (KeyError, TypeError, ValueError, OverflowError):
            raise ServerError(f"{self._shown} answers what can't be read: {short(results)}") from None
        if not rows:
            return Prediction(image, error=_about_one(msg) or "the server named no class")
        by_the_40 = all(class_id < len(THE_40) for class_id, _, _ in rows)
        return Prediction(
            image,
            tuple(Score(self._naming.name(number, said, by_the_40=by_the_40), score) for number, said, score in rows),
        )


def _path(module: str) -> str:
    return f"/predict/{quote(module, safe='')}"


def _opened(value: dict[str, Any]) -> dict[str, Any]:
    """The envelope, or the one in it: on a GPU, a prediction that failed comes as a whole envelope in one of 000."""
    for inner in (value.get("msg"), value.get("results")):
        if value["status"] == HUB_OK and isinstance(inner, dict) and {"status", "msg"} <= inner.keys():
            return inner
    return value


def _about_one(msg: object) -> str:
    """What is wrong with a photo, without the number that it has in a request of one."""
    return short(msg or "").removeprefix("images[0]: ")


def _only(results: Any) -> Any:
    """What the results say of the one photo that was sent; raises ValueError if that is not one."""
    if isinstance(results, Mapping):
        results = results["prediction"]
    if not isinstance(results, list):
        raise TypeError
    if len(results) == 3 and isinstance(results[0], list) and not isinstance(results[2], list | Mapping):
        return results  # of one photo without the list of photos
    if len(results) != 1:
        raise ValueError
    return results[0]


def _rows(item: Any) -> Iterator[_Row]:
    if isinstance(item, Mapping) and "category_id" in item:
        item = [item]
    if isinstance(item, Mapping):
        ids = item["clas_ids"] if "clas_ids" in item else item["class_ids"]
        yield from _joined(ids, item["scores"], item.get("label_names"))
    elif isinstance(item, list) and all(isinstance(each, Mapping) for each in item):
        for each in item:
            yield _row(each["category_id"], each.get("category"), each["score"])
    else:
        ids, scores = item[:2]
        yield from _joined(ids, scores, None)


def _joined(ids: Any, scores: Any, names: Any) -> Iterator[_Row]:
    names = names if names else [None] * len(ids)
    for class_id, name, score in zip(ids, names, scores, strict=True):
        yield _row(class_id, name, score)


def _row(class_id: Any, name: Any, score: Any) -> _Row:
    """One class, if it is one; raises TypeError or ValueError."""
    if isinstance(class_id, bool) or not isinstance(class_id, int) or isinstance(score, bool):
        raise TypeError
    if not isinstance(score, int | float) or not math.isfinite(score) or not 0 <= class_id < 1_000_000:
        raise ValueError
    return class_id, name if isinstance(name, str) and name.strip() else None, float(score)
