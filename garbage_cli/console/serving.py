"""The lines of `serve`."""

from garbage_cli.console.terminal import print_json, say

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def show_ready(
    url: str, workers: int, *, host: str = "127.0.0.1", page: bool = False, most: int | None = None, json: bool
) -> None:
    """Say that the server answers, and where; with `page`, that browsers get the page at the bin there.

    Under load there may be `most` workers.
    """
    if json:
        print_json({"url": url, "workers": workers} | ({} if most is None else {"max_workers": most}))
        return
    where = f" (listening on {host}, every address of this machine)" if host in ("0.0.0.0", "::") else ""
    many = f"{workers} worker{'s' if workers > 1 else ''}" if most is None else f"{workers} to {most} workers"
    say(f"ready at {url}{where} with {many}; Ctrl-C stops it")
    if page:
        say(f"the page at the bin, for a browser: {url}/")
        if host not in _LOOPBACK and not url.startswith("https:"):
            say("phones give their camera to pages over https only; --certificate FILE makes it that")
