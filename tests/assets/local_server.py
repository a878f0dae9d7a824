"""Servers of tests: each serves on this machine, in a thread, for the length of a block."""

from __future__ import annotations

import contextlib
import http.server
import socketserver
import threading
from collections.abc import Callable, Iterator


class SilentHandler(http.server.BaseHTTPRequestHandler):
    """A handler of HTTP requests that logs nothing."""

    def log_message(self, *_: object) -> None:
        pass


def start(server: socketserver.BaseServer) -> Callable[[], None]:
    """Serve in a thread; return the function that ends the thread and closes the server."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        thread.join()
        server.server_close()

    return stop


@contextlib.contextmanager
def running(server: socketserver.BaseServer) -> Iterator[None]:
    """Serve in a thread for the block."""
    stop = start(server)
    try:
        yield
    finally:
        stop()


@contextlib.contextmanager
def serving_http(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve HTTP for the block on a free port of 127.0.0.1; yield the URL, without a slash at its end."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with running(server):
        yield f"http://127.0.0.1:{server.server_port}"
