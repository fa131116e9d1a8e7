"""serve: photos answered over HTTP."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from garbage_cli.cli.answers import Model, Threshold, TopK
from garbage_cli.cli.app import Json, app
from garbage_cli.cli.clusters import Ray, WithRay
from garbage_cli.cli.engines import Engine, Precision, Set, Verbose, options

if TYPE_CHECKING:
    from garbage_cli.server import ServeOptions
    from garbage_cli.server.hubconfig import HubStart

IN_CONFIG = ("--port", "--workers", "--top-k", "--engine", "--precision", "--set")
"""Options that a config.json has words for, or decides."""
WITH_HUB = ("--port", "--workers", "--top-k", "--set", "--model", "--config", "--backend", "--json")
"""Options that the real PaddleHub can follow."""


@app.command(cls=WithRay)
def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for the whole network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8866,
    workers: Annotated[int, typer.Option(help="Processes, each with the model loaded.", min=1)] = 1,
    model: Model = Path("inference"),
    top_k: TopK = None,
    threshold: Threshold = None,
    engine: Engine = "auto",
    precision: Precision = "auto",
    set_: Set = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(help="Let in only who shows a key of this file: one a line, or name: key.", show_default=False),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Let pages of this origin read replies; repeatable.", show_default=False),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Serve https with this certificate, or chain of them, in PEM.", show_default=False
        ),
    ] = None,
    private_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The certificate's private key, unless it is in the same file.", show_default=False
        ),
    ] = None,
    access_log: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write a line of JSON per request; - is stdout.", show_default=False),
    ] = None,
    collect: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Keep photos whose senders ask for it, as a data set to train on.", show_default=False
        ),
    ] = None,
    collect_limit: Annotated[str, typer.Option(metavar="SIZE", help="Keep no more than that.")] = "10G",
    max_body: Annotated[str, typer.Option(metavar="SIZE", help="Refuse larger requests.")] = "64M",
    max_pixels: Annotated[int, typer.Option(help="Refuse larger photos.", min=1, max=178_000_000)] = 89_000_000,
    queue: Annotated[int, typer.Option(help="Requests a worker holds; one more is answered 503.", min=1)] = 64,
    per_client: Annotated[
        int, typer.Option(help="Requests a worker holds of one client; one more is answered 429. 0: any.", min=0)
    ] = 0,
    timeout: Annotated[float, typer.Option(help="Seconds to answer in; after that 503.", min=0.1)] = 30,
    batch: Annotated[
        int, typer.Option(help="Photos inferred together at most. 0: as many as the engine gains from.", min=0)
    ] = 0,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Start as PaddleHub's config.json says.", show_default=False),
    ] = None,
    backend: Annotated[str, typer.Option(help="garbage, or hub: the real PaddleHub Serving (extra hub).")] = "garbage",
    ray: Ray = None,
    max_workers: Annotated[
        int | None,
        typer.Option(
            help="With --ray: have so many workers under load, and --workers at rest.", min=1, show_default=False
        ),
    ] = None,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Answer photos over HTTP: PaddleHub Serving's protocol on /predict/…, our own on /v1, KServe's on /v2.

    / is a page for phones and tablets: it takes a photo and shows the bin. /docs is the manual.
    SIGTERM finishes what was accepted; SIGHUP loads the model, the keys and the certificate anew.

    \b
    garbage serve --port 8866 --workers 4
    garbage serve --host 0.0.0.0 --api-key-file keys.txt --access-log access.jsonl
    garbage serve --host 0.0.0.0 --certificate cert.pem --private-key key.pem
    garbage serve --collect collected
    garbage serve --config config.json
    garbage serve --ray 10.0.0.1:6379 --host 0.0.0.0 --workers 2 --max-workers 8
    """
    from garbage_cli import server as room
    from garbage_cli.config import parse_size
    from garbage_cli.console import serving as view
    from garbage_cli.console.terminal import say
    from garbage_cli.engines.choosing import hub_wish
    from garbage_cli.server.hubconfig import HubStart

    if backend not in ("garbage", "hub"):
        raise typer.BadParameter(f"--backend {backend}: it is garbage or hub")
    asked = room.ServeOptions(
        model=model, host=host, port=port, workers=workers, top_k=top_k, threshold=threshold,
        engine=engine, precision=precision, options=options(set_), cors=tuple(cors or ()), access_log=access_log,
        max_body=parse_size(max_body), max_pixels=max_pixels, queue=queue, per_client=per_client, timeout=timeout,
        batch=batch, certificate=certificate, private_key=private_key, collect=collect,
        collect_limit=parse_size(collect_limit),
    )  # fmt: skip
    typed = _typed(context)
    start = HubStart() if config is None else _read(config, typed, say)
    if config is not None:
        wish = hub_wish(use_gpu=start.use_gpu, enable_mkldnn=False)
        asked = replace(
            asked, port=start.port, workers=start.workers, top_k=start.top_k,
            engine=wish.engine, precision=wish.precision, options=wish.options,
        )  # fmt: skip
    if collect is None and "--collect-limit" in typed:
        raise typer.BadParameter("--collect-limit: nothing is kept without --collect DIR")
    if private_key is not None and certificate is None:
        raise typer.BadParameter("--private-key: it is for https, which takes --certificate FILE too")
    _check_ray(ray, typed, access_log, backend)
    if backend == "hub":
        _serve_with_hub(asked, typed, enable_mkldnn=start.enable_mkldnn, json=json)
        return
    if start.enable_mkldnn:
        say(f"{config}: enable_mkldnn asks for speed on a CPU; the fastest engine here is taken in any case")
    if config is not None and "--host" not in typed:
        say("only this machine can reach it; PaddleHub listens on the whole network, which is --host 0.0.0.0 here")
    asked = _guarded(asked, api_key_file, say)

    def on_ready(url: str) -> None:
        view.show_ready(url, asked.workers, host=asked.host, page=True, most=max_workers, json=json)

    explain = say if verbose else None
    if ray is None:
        room.serve(asked, on_ready=on_ready, tell=say, explain=explain)
    else:
        room.serve_on_ray(asked, ray, most=max_workers, on_ready=on_ready, tell=say, explain=explain)


def _check_ray(ray: str | None, typed: frozenset[str], access_log: str | None, backend: str) -> None:
    """Refuse what has no meaning on a cluster, or only there."""
    if ray is None:
        if "--max-workers" in typed:
            raise typer.BadParameter("--max-workers: only a cluster has workers come and go; it takes --ray too")
        return
    if backend == "hub":
        raise typer.BadParameter("--ray: PaddleHub does not serve on a cluster; leave --backend hub out")
    if "--config" in typed:
        raise typer.BadParameter("--ray: a config.json knows no cluster; give its settings as options")
    if "--collect" in typed:
        raise typer.BadParameter(
            "--collect: with --ray each machine would keep photos in a folder of its own; collect with one server"
        )
    if access_log == "-":
        raise typer.BadParameter("--access-log -: with --ray workers have no stdout; name a file, one on each machine")


def _typed(context: typer.Context) -> frozenset[str]:
    """The options that were typed, by their long names."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return frozenset(
        f"--{name.strip('_').replace('_', '-')}"
        for name, source in sources.items()
        if source is not None and source.name == "COMMANDLINE"
    )


def _read(config: Path, typed: frozenset[str], say: Any) -> "HubStart":
    """Read a config.json: what it has words for counts as it says there, and what that leaves out is said."""
    from garbage_cli.server.hubconfig import read_hub_config

    start = read_hub_config(config, given=typed & set(IN_CONFIG))
    for note in start.notes:
        say(f"{config}: {note}")
    return start


def _guarded(asked: "ServeOptions", api_key_file: Path | None, say: Any) -> "ServeOptions":
    """Load the keys; say what it means to be open to a network without."""
    from garbage_cli.server.keys import Keys

    if api_key_file is not None:
        return replace(asked, keys=Keys.load(api_key_file, tell=say), key_file=api_key_file)
    if asked.host not in ("127.0.0.1", "localhost", "::1"):
        say(f"whoever reaches {asked.host} can have photos answered; --api-key-file asks for a key")
    return asked


def _serve_with_hub(asked: "ServeOptions", typed: frozenset[str], *, enable_mkldnn: bool, json: bool) -> None:
    """Have the real PaddleHub serve the model; it has few of our options, and the others are refused."""
    from garbage_cli.bundle import ModelBundle
    from garbage_cli.console import serving as view
    from garbage_cli.console.terminal import say
    from garbage_cli.engines import Options
    from garbage_cli.hubmodule import serve_with_hub

    if foreign := sorted(typed - set(WITH_HUB)):
        raise typer.BadParameter(f"--backend hub: PaddleHub has no {', '.join(foreign)}; leave it out")
    if asked.options != Options(use_gpu=asked.options.use_gpu):
        raise typer.BadParameter("--backend hub: of --set, PaddleHub's module takes use_gpu only")
    serve_with_hub(
        ModelBundle.load(asked.model),
        port=asked.port,
        workers=asked.workers,
        use_gpu=asked.options.use_gpu,
        enable_mkldnn=enable_mkldnn,
        top_k=asked.top_k,
        on_ready=lambda url: view.show_ready(url, asked.workers, json=json),
        tell=say,
    )
