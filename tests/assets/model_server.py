"""
A loopback HTTP server that speaks the wire protocol of chat completions, from a list of replies. Not a model.

Every well-formed answer is checked by the SDK's own types before it is sent.
"""

from __future__ import annotations

import contextlib
import json
import select
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any

from local_server import SilentHandler, start

MODEL = "test-model-1"
USAGE = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}


@dataclass(frozen=True, slots=True)
class Reply:
    """What one request gets."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    cut_after: int | None = None
    """Close the connection after so many bytes of the body."""
    hang: bool = False
    """Send no byte until the server stops."""
    hang_after: int | None = None
    """Send so many bytes of the body, then nothing until the server stops."""
    repeat: int = 1
    """Send the body so many times, as one body."""


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """A request as it arrived."""

    path: str
    headers: tuple[tuple[str, str], ...]
    body: Any

    def header(self, name: str) -> list[str]:
        """Return all values of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


def completion(text: str | None = "an answer", *, usage: Any = USAGE, **changed: Any) -> Reply:
    """Return a valid chat completion; `changed` are fields of the choice, the message or the document."""
    from openai.types.chat import ChatCompletion

    message = {"role": "assistant", "content": text, "refusal": changed.pop("refusal", None)}
    if "reasoning_content" in changed:
        message["reasoning_content"] = changed.pop("reasoning_content")
    choice = {"index": 0, "message": message, "finish_reason": changed.pop("finish_reason", "stop")}
    headers = changed.pop("headers", ())
    document = {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": MODEL,
        "system_fingerprint": "fp_1", "choices": [choice], **changed,
    }  # fmt: skip
    if usage is not None:
        document["usage"] = usage
    ChatCompletion.model_validate(document, strict=True)
    return Reply(json.dumps(document).encode(), headers=(("Content-Type", "application/json"), *headers))


def embeddings(*vectors: list[float], model: str = MODEL, shuffled: bool = False) -> Reply:
    """Return a valid answer of an embeddings endpoint; `shuffled`: in another order, with its indices."""
    from openai.types import CreateEmbeddingResponse

    data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    usage = {"prompt_tokens": 12, "total_tokens": 12}
    listed = data[::-1] if shuffled else data
    document = {"object": "list", "model": model, "data": listed, "usage": usage}
    CreateEmbeddingResponse.model_validate(document, strict=True)
    return Reply(json.dumps(document).encode())


def error(status: int, message: str, code: str | None = None, **headers: str) -> Reply:
    """Return a valid error. Names of headers have `_` for `-`."""
    from openai.types.shared import ErrorObject

    document = {"message": message, "type": "test_error", "param": None, "code": code}
    ErrorObject.model_validate(document, strict=True)
    more = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    body = json.dumps({"error": document}).encode()
    return Reply(body, status, (("Content-Type", "application/json"), *more))


@dataclass(slots=True)
class ModelServer:
    """The running server: its address, its replies in order, and what it has seen."""

    url: str
    replies: list[Reply]
    """The last reply is given again when no other is left."""
    requests: list[SeenRequest] = field(default_factory=list)
    sent: int = 0
    """Bytes of bodies that the network took."""
    stopped: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_reply(self) -> Reply:
        """Take the next reply."""
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@contextlib.contextmanager
def serving(*replies: Reply) -> Iterator[ModelServer]:
    """Serve on a free port of 127.0.0.1 for the block."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    http.daemon_threads = False
    server = ModelServer(f"http://127.0.0.1:{http.server_address[1]}/v1", list(replies))
    http.model = server  # type: ignore[attr-defined]
    stop = start(http)
    try:
        yield server
    finally:
        server.stopped.set()
        while select.select([http], [], [], 0)[0]:  # whoever has connected has asked, also if it gave up
            time.sleep(0.01)
        stop()


class _Handler(SilentHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server: ModelServer = self.server.model  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with server.lock:
            server.requests.append(SeenRequest(self.path, tuple(self.headers.items()), json.loads(body)))
            reply = server.next_reply()
        self.close_connection = True
        if reply.hang:
            server.stopped.wait()
            return
        with contextlib.suppress(ConnectionError):  # the client left
            self._send(reply, server)

    do_GET = do_POST

    def _send(self, reply: Reply, server: ModelServer) -> None:
        self.wfile.write(f"HTTP/1.1 {reply.status} x\r\n".encode())
        for name, value in (*reply.headers, ("Content-Length", str(len(reply.body) * reply.repeat))):
            self.wfile.write(f"{name}: {value}\r\n".encode())
        self.wfile.write(b"Connection: close\r\n\r\n")
        limit = reply.cut_after if reply.cut_after is not None else reply.hang_after
        for _ in range(reply.repeat):
            self.wfile.write(reply.body if limit is None else reply.body[:limit])
            server.sent += len(reply.body)
        if reply.hang_after is not None:
            server.stopped.wait()
