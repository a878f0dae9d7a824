"""A headless Chromium that is driven over a pipe by its own protocol: real clicks, real keys, screenshots."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

BINARY = shutil.which("chromium") or shutil.which("chromium-browser")
PHONE = (390, 844)
DESKTOP = (1280, 900)
WAIT_S = 300
READY = ("load", "firstContentfulPaint")
"""What a page has to reach: before its first paint a browser may drop clicks and keys."""


class Chromium:
    """One page. Scripts that are asked for run outside the page's own policy, as its inspector would."""

    def __init__(self) -> None:
        self._home = tempfile.mkdtemp(prefix="sr-chromium-")
        (to_read, self._to), (self._from, to_write) = os.pipe(), os.pipe()

        def at_3_and_4() -> None:
            high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (to_read, to_write)]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        command = [
            BINARY, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            "--disable-background-networking", "--disable-component-update", "--no-first-run",
            f"--user-data-dir={self._home}", "--remote-debugging-pipe", "about:blank",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, preexec_fn=at_3_and_4, pass_fds=(3, 4), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, "HOME": self._home},
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.requests: list[str] = []
        """Addresses that the page loaded or tried to."""
        self._reached: set[tuple[str, str]] = set()
        """Stages of documents that were reached, with the id of the load: one document's is not another's."""
        self.complaints: list[str] = []
        """What the browser wrote on its console: errors of scripts, refusals of the policy."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")
        self.call("Page.setLifecycleEventsEnabled", enabled=True)

    def close(self) -> None:
        self._session = None
        try:
            self.call("Browser.close")
        finally:
            self._process.wait(timeout=120)
            os.close(self._to)
            os.close(self._from)
            shutil.rmtree(self._home, ignore_errors=True)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; events that come first are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == self._number:
                assert "error" not in found, (method, found["error"])
                return found["result"]
            self._event(found)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._from], [], [], WAIT_S)[0], "chromium says nothing"
            data = os.read(self._from, 1 << 20)
            assert data, "chromium is gone"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(line)

    def _event(self, found: dict[str, Any]) -> None:
        params = found.get("params", {})
        match found.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Log.entryAdded":
                self.complaints.append(params["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.complaints.append(str(params["exceptionDetails"]))
            case "Page.lifecycleEvent":
                self._reached.add((params["loaderId"], params["name"]))

    def open(self, page: Path, size: tuple[int, int], dark: bool = False, script: bool = True) -> None:
        """Load a file at a window's size, and wait until it is there and painted."""
        self.call("Emulation.setScriptExecutionDisabled", value=not script)
        self.call(
            "Emulation.setDeviceMetricsOverride", width=size[0], height=size[1],
            deviceScaleFactor=1, mobile=size[0] < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self._reached.clear()
        self.requests.clear()
        self.complaints.clear()
        loader = self.call("Page.navigate", url=page.resolve().as_uri())["loaderId"]
        while not {(loader, name) for name in READY} <= self._reached:
            self._event(self._next())

    def ask(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def click(self, selector: str, number: int = 0) -> None:
        """Click the middle of an element with the mouse."""
        where = (
            "(e => (e.scrollIntoView({block: 'center', behavior: 'instant'}),"
            " e.getBoundingClientRect().toJSON()))"
            f"(document.querySelectorAll({json.dumps(selector)})[{number}])"
        )
        box = self.ask(where)
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text: str) -> None:
        """Type into what has the focus, key by key: a page may listen to keys, not to what a field holds."""
        for character in text:
            for kind in ("keyDown", "keyUp"):
                typed = character if kind == "keyDown" else ""
                self.call("Input.dispatchKeyEvent", type=kind, key=character, text=typed)

    def key(self, name: str, code: int) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code,
                text="\r" if name == "Enter" and kind == "keyDown" else "",
            )  # fmt: skip
