"""The system's Chromium for tests and pictures of the page: fake cameras, a voice that writes down, what goes wrong.

Knows Playwright and Chromium's switches. Does not know the page's elements.
"""

import io
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, Request, Response

FRAMES = 30
"""A second, as Chromium plays a file of JPEGs."""
INSECURE = "bin.test"
"""A name of this machine that the browser does not trust: its pages get no camera without https."""
CAMERAS = "--use-fake-device-for-media-stream=device-count={}"

VOICES = (("Tingting", "zh-CN"), ("Daniel", "en-GB"))
NO_VOICES = ()
# headless Chromium has no voice: this one writes down what it is asked to say
_SPEECH = """(voices => {
  window.spoken = [];
  const speech = new EventTarget();
  const listed = voices.map(([name, lang]) => ({ name, lang, localService: true, default: false, voiceURI: name }));
  Object.assign(speech, {
    getVoices: () => listed, cancel() {}, pause() {}, resume() {}, speaking: false, pending: false, paused: false,
    speak: words => window.spoken.push({ text: words.text, lang: words.lang, voice: words.voice?.name ?? null }),
  });
  Object.defineProperty(window, "speechSynthesis", { value: speech, configurable: true });
  window.SpeechSynthesisUtterance = class {
    constructor(text) { Object.assign(this, { text, lang: "", voice: null }); }
  };
})(%s)"""
_POLICY = """addEventListener("securitypolicyviolation", event =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`))"""


def chromium() -> str | None:
    """The system's Chromium; Playwright's own downloads are not used."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def film(path: Path, scenes: Iterable[tuple[Image.Image, float]], size: tuple[int, int] = (640, 480)) -> Path:
    """Write what a fake camera sees, over and over: each picture, whole on grey, for so many seconds."""
    with path.open("wb") as file:
        for picture, seconds in scenes:
            frame = io.BytesIO()
            ImageOps.pad(picture.convert("RGB"), size, color=(128, 128, 128)).save(frame, "JPEG", quality=90)
            file.write(frame.getvalue() * round(seconds * FRAMES))
    return path


def launch(playwright: Playwright, program: str, *switches: str, seen: Path | None = None, cameras: int = 1) -> Browser:
    """Start Chromium with so many fake cameras; `seen` is the film of the one camera there is then."""
    return playwright.chromium.launch(
        executable_path=program,
        args=[*camera_switches(seen, cameras), f"--host-resolver-rules=MAP {INSECURE} 127.0.0.1", *switches],
    )


def camera_switches(seen: Path | None, cameras: int = 1) -> list[str]:
    if seen is None:
        return [CAMERAS.format(cameras)]
    return [CAMERAS.format(1), f"--use-file-for-fake-video-capture={seen}"]


@dataclass
class Trouble:
    """What went wrong in a browser's context: scripts, requests, the policy, requests to anywhere else."""

    context: BrowserContext
    origin: str
    found: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.add_init_script(_POLICY)
        self.context.on(
            "console", lambda said: said.type in ("error", "warning") and self._note(f"console: {said.text}")
        )
        self.context.on("weberror", lambda error: self._note(f"script: {error.error}"))
        self.context.on("request", self._asked)
        self.context.on("requestfailed", self._failed)
        self.context.on("response", self._replied)

    def _note(self, line: str) -> None:
        self.found.append(line)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((f"{self.origin}/", "data:", f"blob:{self.origin}/")):
            self._note(f"elsewhere: {request.url}")

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # the page was left meanwhile
            self._note(f"request: {request.method} {request.url}: {request.failure}")

    def _replied(self, response: Response) -> None:
        if response.status >= 400:
            self._note(f"reply: {response.request.method} {response.url}: HTTP {response.status}")

    def beside(self, provoked: Iterable[str]) -> list[str]:
        """What was found and matches none of the patterns that a test has provoked."""
        return [line for line in self.found if not any(re.search(pattern, line) for pattern in provoked)]


@contextmanager
def visiting(
    browser: Browser,
    url: str,
    *,
    voices: Iterable[tuple[str, str]] = VOICES,
    camera: bool = True,
    **settings: Any,
) -> Iterator[tuple[Page, Trouble]]:
    """A page of its own, with nothing remembered, that is allowed the camera or is not; it is not opened yet."""
    context = browser.new_context(base_url=url, **{"locale": "zh-CN", **settings})
    try:
        yield prepare(context, url, voices=voices, camera=camera)
    finally:
        context.close()


def prepare(
    context: BrowserContext, url: str, *, voices: Iterable[tuple[str, str]] = VOICES, camera: bool = True
) -> tuple[Page, Trouble]:
    context.set_default_timeout(15_000)
    context.grant_permissions(["camera"] if camera else [])  # what is not granted is denied
    context.add_init_script(_SPEECH % [list(voice) for voice in voices])
    trouble = Trouble(context, url)
    return context.new_page(), trouble


def spoken(page: Page) -> list[dict[str, str | None]]:
    """What the voice was asked to say, with the language and the voice."""
    said: list[dict[str, str | None]] = page.evaluate("window.spoken")
    return said
