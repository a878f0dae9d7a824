"""A fake engine: answers on a unix socket what a test lays down, and starts nothing."""

from __future__ import annotations

import contextlib
import json
import re
import socketserver
import threading
from pathlib import Path

import pytest
from local_server import SilentHandler, start

from kit.cli import runtime
from kit.diagnose import doctor
from kit.sandbox.engine import Engine, answers
from kit.sandbox.runtime import docker

VERSION = {
    "ApiVersion": "1.41",
    "Version": "20.10.24",
    "Components": [{"Name": "Engine", "Version": "20.10.24"}],
}
PATIENCE_S = 600.0
"""Timeout of a request, unless a test passes another: the fake is paused as often as the machine is busy."""
INFO = {"MemoryLimit": True, "SwapLimit": True, "PidsLimit": True, "DriverStatus": []}


class FakeEngine(socketserver.ThreadingUnixStreamServer):
    """`answers` maps `GET /path` (without the API version and the query) to (status, JSON value)."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder / "fake.sock"), Handler)
        self.url = f"unix://{folder}/fake.sock"
        self.asked: list[str] = []
        self.bodies: dict[str, bytes] = {}
        """The last body of each request that had one, if it was not sent in chunks."""
        self.is_silent = False
        """Answer nothing, until the server stops."""
        self.stopped = threading.Event()
        self.answers: dict[str, tuple[int, object]] = {
            "GET /version": (200, VERSION),
            "GET /info": (200, INFO),
            "GET /_ping": (200, "OK"),
        }
        self._patience = pytest.MonkeyPatch()
        for asking in (Engine.__init__, answers):
            self._patience.setattr(asking, "__defaults__", (PATIENCE_S,))
        for module, name in (
            (runtime, "PATIENCE_S"), (doctor, "ENGINE_PATIENCE_S"), (docker, "REAP_PATIENCE_S")
        ):  # fmt: skip
            self._patience.setattr(module, name, PATIENCE_S)
        self._end = start(self)

    def stop(self) -> None:
        """End the server, the threads that answer nothing, and the patience."""
        self._patience.undo()
        self.stopped.set()
        self._end()


class Handler(SilentHandler):
    def _answer(self) -> None:
        path = re.sub(r"^/v[0-9.]+", "", self.path.split("?")[0])
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
        key = f"{self.command} {path}"
        self.server.asked.append(key)
        if sent:
            self.server.bodies[key] = sent
        if self.server.is_silent:
            self.server.stopped.wait()
        status, value = self.server.answers.get(key, (404, {"message": f"the fake knows no {key}"}))
        body = json.dumps(value).encode()
        with contextlib.suppress(BrokenPipeError):  # the client has closed the connection
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    do_GET = do_POST = do_DELETE = _answer
