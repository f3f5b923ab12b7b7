"""Headless Chromium driven over its DevTools protocol: one page, its requests, its console, keys and sizes.

The protocol's messages are plain JSON over a web socket (chromedevtools.github.io/devtools-protocol); `websockets` comes with uvicorn.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
]
SECONDS = 60


class Tab:
    """A tab: `requests` and `messages` grow with what the page does."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._number = 0
        self.requests: list[str] = []
        self.messages: list[str] = []
        self._loaded = 0
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command; its result."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=SECONDS))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                found: dict[str, Any] = answer["result"]
                return found
            self._note(answer)

    def open(self, path: Path, width: int = 1280, *, is_dark: bool = False, media: str = "") -> None:
        """Load a file at a width and colour scheme and wait until it is there."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        before = self._loaded
        self.call("Page.navigate", url=path.resolve().as_uri())
        while self._loaded == before:
            self._note(json.loads(self._socket.recv(timeout=SECONDS)))

    def evaluate(self, script: str) -> Any:
        """The JSON-able value of an expression."""
        result = self.call("Runtime.evaluate", expression=f"JSON.stringify({script})", returnByValue=True)["result"]
        return json.loads(result["value"])

    def press(self, key: str, code: int, text: str = "") -> None:
        """One key, down and up."""
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def picture(self, selector: str = "body", height: int | None = None) -> bytes:
        """An element as PNG, its top where a height in pixels is given."""
        found = self.evaluate(
            f"(r => [r.x + scrollX, r.y + scrollY, r.width, r.height])(document.querySelector('{selector}').getBoundingClientRect())"
        )
        clip = {
            "x": found[0],
            "y": found[1],
            "width": found[2],
            "height": min(found[3], height or found[3]),
            "scale": 1,
        }
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        return base64.b64decode(data)

    def _note(self, event: dict[str, Any]) -> None:
        method, parameters = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Log.entryAdded":
            self.messages.append(parameters["entry"]["text"])
        elif method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            self.messages.append(json.dumps(parameters))
        elif method == "Page.loadEventFired":
            self._loaded += 1


@contextmanager
def chromium(profile: Path) -> Iterator[Tab]:
    """A browser of its own, ended by its own process."""
    from websockets.sync.client import connect

    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        assert process.stderr is not None
        listening = next(line for line in process.stderr if "DevTools listening on" in line)
        port = listening.split("127.0.0.1:")[1].split("/")[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=SECONDS) as answer:
            page = next(target for target in json.load(answer) if target["type"] == "page")
        with connect(page["webSocketDebuggerUrl"], max_size=None) as socket:
            yield Tab(socket)
    finally:
        process.terminate()
        process.wait(20)
        if process.stderr is not None:
            process.stderr.close()
