"""The lines of `serve`."""

from garbage_cli.console.terminal import print_json, say


def show_ready(url: str, workers: int, *, json: bool) -> None:
    """Say that the server answers, and where."""
    if json:
        print_json({"url": url, "workers": workers})
    else:
        say(f"ready at {url} with {workers} worker{'s' if workers > 1 else ''}; Ctrl-C stops it")
