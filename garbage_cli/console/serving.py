"""The lines of `serve`."""

from garbage_cli.console.terminal import print_json, say


def show_ready(url: str, workers: int, *, host: str = "127.0.0.1", json: bool) -> None:
    """Say that the server answers, and where."""
    if json:
        print_json({"url": url, "workers": workers})
    else:
        where = f" (listening on {host}, every address of this machine)" if host in ("0.0.0.0", "::") else ""
        say(f"ready at {url}{where} with {workers} worker{'s' if workers > 1 else ''}; Ctrl-C stops it")
