"""Our own routes: `/v1/predict` and `/v1/model`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from garbage_cli import __version__, wire
from garbage_cli.labels import BINS, REGIONS, Label, Region
from garbage_cli.prediction import Photo, Prediction
from garbage_cli.server.desk import Asked, Desk
from garbage_cli.server.front import JSON, ticket_of
from garbage_cli.server.keeping import is_foreign
from garbage_cli.server.model import Model
from garbage_cli.server.multipart import read_form
from garbage_cli.server.photos import content_type, numbered
from garbage_cli.wire import RequestError
from garbage_cli.wire.reading import shown

MULTIPART = "multipart/form-data"


async def predict(desk: Desk, request: Request) -> Response:
    """Photos as a raw body, as multipart files, or as JSON `{"images": [base64, …], "top_k": n}`.

    A photo that can't be answered has an `error` of its own; if none can, the status is 422. With `?collect=1`, a
    server that collects keeps those that were answered, unless a page of another site asks.
    """
    top_k = wire.parse_top_k(request.query_params.get("top_k"))
    collect = _is_wished(request.query_params.get("collect"))
    kind = request.headers.get("content-type", "")
    parse = partial(_parse, kind=kind, top_k=top_k)
    raw = content_type(kind) not in (JSON, MULTIPART)
    model, items, predictions = await desk.take(request, ticket_of(request), parse, at_once=raw)
    value: dict[str, Any] = {
        "model": model.bundle.name,
        "results": [wire.prediction_to_json(each) for each in predictions],
    }
    if collect and desk.keeper and not is_foreign(request.headers, desk.options.cors):
        value["collected"] = await desk.keeper.keep(items, predictions, seconds=desk.options.timeout)
    status = 422 if all(each.error for each in predictions) else 200
    return Response(wire.dumps(value), status, media_type=JSON)


def _is_wished(text: str | None) -> bool:
    """Read `collect` from a query string."""
    if text in ("1", "true"):
        return True
    if text in (None, "0", "false"):
        return False
    raise RequestError(f"collect must be 1 or 0, not {shown(text)}")


def _parse(body: bytes, model: Model, *, kind: str, top_k: int | None) -> tuple[Asked, Sequence[Photo | Prediction]]:
    items, in_body = _items(body, kind)
    return Asked(items, in_body or top_k), items


def _items(body: bytes, kind: str) -> tuple[Sequence[Photo | Prediction], int | None]:
    """The photos of a body, and its top_k where it names one."""
    if content_type(kind) == JSON:
        parsed = wire.parse_predict(wire.parse_json(body))
        return numbered(parsed.images), parsed.top_k
    if content_type(kind) == MULTIPART:
        return read_form(body, kind)
    if not body:
        raise RequestError("the body is empty; send an image file, multipart files, or JSON")
    return [Photo("image", body)], None


async def model(desk: Desk, request: Request) -> Response:
    """What answers here: kinds, bins, input, engine, and how good it was found to be."""
    return Response(wire.dumps(model_facts(desk.model) | {"collects": desk.keeper is not None}), media_type=JSON)


def model_facts(model: Model) -> dict[str, Any]:
    """Return the object of `/v1/model`."""
    predictor = model.predictor
    bundle = predictor.bundle
    spec = bundle.preprocess
    return {
        "name": bundle.name,
        "version": bundle.digest[:12],
        "garbage": __version__,
        "classes": [_class(each) for each in bundle.labels.items],
        "bins": [
            {
                "key": each.key,
                "name": each.chinese,
                "english": each.english,
                "colour": each.colour,
                "fill": each.fill,
            }
            for each in BINS
            if any(label.bin is each for label in bundle.labels.items)
        ],
        "regions": [_region(each) for each in REGIONS],
        "input": {
            "shape": list(bundle.input_shape),
            "resize_short": spec.resize_short,
            "crop": spec.crop,
            "mean": list(spec.mean),
            "std": list(spec.std),
        },
        "top_k": predictor.top_k,
        "threshold": predictor.threshold,
        "engine": predictor.engine,
        "precision": predictor.precision,
        "figures": _figures(bundle.facts.get("metrics")),
    }


def _class(label: Label) -> dict[str, Any]:
    return {
        "class_id": label.class_id,
        "name": label.name,
        "bin": label.bin_name,
        "bin_key": label.bin.key if label.bin else None,
        "english": label.english,
        "preparation": asdict(label.preparation) if label.preparation else None,
    }


def _region(region: Region) -> dict[str, Any]:
    bins = [{"key": key} | asdict(words) for key, words in region.bins.items()]
    return {"key": region.key, "chinese": region.chinese, "english": region.english, "bins": bins}


def _figures(metrics: object) -> dict[str, Any] | None:
    """The few figures that say how good a model is; None where nothing was measured."""
    if not isinstance(metrics, Mapping):
        return None
    return {name: metrics.get(name) for name in ("photos", "top1", "bin_accuracy", "macro_f1")}
