"""A registry of the tests' own, on the loopback; everything that it keeps is in one directory."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
BINARY = shutil.which("docker-registry", path=PATH)
USER, PASSWORD = "pusher", "secret"
HASHED = f"{USER}:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"
"""The line of an htpasswd file."""


@contextlib.contextmanager
def own_registry(data: Path, *, login: bool = False) -> Iterator[str]:
    """Give `host:port` of a registry that keeps its data in `data`; with `login`, it asks for `USER`."""
    folder = Path(tempfile.mkdtemp(dir=data, prefix="registry-"))
    (folder / "htpasswd").write_text(HASHED)
    auth = f'auth: {{htpasswd: {{realm: own, path: "{folder}/htpasswd"}}}}\n' if login else ""
    # a port that is picked here could be taken before the registry binds it: it picks one itself, and logs it
    (folder / "config.yml").write_text(
        "version: 0.1\nlog: {level: info, accesslog: {disabled: true}}\n"
        f'storage: {{filesystem: {{rootdirectory: "{data}"}}}}\n'
        f'http: {{addr: "127.0.0.1:0"}}\n{auth}'
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [BINARY, "serve", str(folder / "config.yml")], stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield _await_address(process, folder / "log")
    finally:
        process.terminate()
        process.wait(timeout=120)


class CuttingRelay:
    """Relays connections to a registry, and cuts the first one that has sent `after` bytes."""

    def __init__(self, target: str, after: int) -> None:
        host, port = target.split(":")
        self._target, self._left = (host, int(port)), after
        self.cuts = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        # closing alone would leave the thread in accept
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                upstream = socket.create_connection(self._target)
                for source, sink, counted in ((client, upstream, True), (upstream, client, False)):
                    threading.Thread(target=self._pass_on, args=(source, sink, counted), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        sent = 0
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 18):
                sent += len(data)
                if counted and not self.cuts and sent > self._left:
                    self.cuts += 1
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def _await_address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 300
    while not (listening := re.search(r"listening on (127\.0\.0\.1:\d+)\D", log.read_text(errors="replace"))):
        assert process.poll() is None and time.monotonic() < deadline, log.read_text(errors="replace")[-2000:]
        time.sleep(0.1)
    return listening[1]
