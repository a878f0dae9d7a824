"""
The messages of one client of a session: lines of JSON, bounded in size and in number.

A line that is too long is never parsed. It is answered with an error if its id stands at its beginning, and
recorded as a refused call. A client whose answers are not ready is not read further.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread
import mcp_types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.lowlevel import Server
from mcp.shared.message import SessionMessage

from kit.session.session import AgentSession

MAX_LINE = 8 << 20
"""Bytes of one message: a workspace of 1 MiB as JSON, whose escapes take six times as much."""
MAX_OPEN = 64
"""Requests of one client without an answer."""
MAX_OPEN_BYTES = 64 << 20
"""Bytes of these requests."""
PARSE_ERROR, INVALID_REQUEST = -32700, -32600
CANCELLED = "notifications/cancelled"
_HEAD = 512
_ID = re.compile(rb'\{[^{}\[\]]{0,200}?"id"\s*:\s*([0-9]{1,15}|"[A-Za-z0-9_.-]{1,100}")')

Receive = Callable[[], Awaitable[bytes]]
"""Returns the next bytes of a client; none at its end."""
Send = Callable[[bytes], Awaitable[None]]
Item = SessionMessage | Exception


class OpenRequests:
    """The requests of a client that have no answer yet."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self._changed = anyio.Event()

    def __contains__(self, request: str | int) -> bool:
        """Tell whether the request of this id has no answer yet; the SDK takes 1 and "1" for one id."""
        return str(request) in self._sizes

    async def add(self, request: str | int, size: int) -> None:
        """Add a request of `size` bytes; wait while there are too many, or too large ones."""
        while len(self._sizes) >= MAX_OPEN or (
            self._sizes and sum(self._sizes.values()) + size > MAX_OPEN_BYTES
        ):
            await self._changed.wait()
        self._sizes[str(request)] = size

    def remove(self, request: Any) -> None:
        """Remove a request that was answered or cancelled."""
        if isinstance(request, str | int):
            self._sizes.pop(str(request), None)
            self._changed.set()
            self._changed = anyio.Event()


async def serve_client(session: AgentSession, server: Server[Any], receive: Receive, send: Send) -> None:
    """Serve one client until it closes its end or can no longer be written to."""
    to_server, from_client = anyio.create_memory_object_stream[Item](0)
    to_client, from_server = anyio.create_memory_object_stream[SessionMessage](0)
    writing, waiting = anyio.Lock(), OpenRequests()

    async def answer(data: bytes) -> None:
        """Send one line; a client that is gone ends its own serving."""
        async with writing:
            try:
                await send(data + b"\n")
            except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                tasks.cancel_scope.cancel()  # nobody reads what this client asks for

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_read, session, receive, to_server, answer, waiting)
        tasks.start_soon(_write, from_server, answer, waiting)
        options = server.create_initialization_options()
        await server.run(from_client, to_client, options)
        tasks.cancel_scope.cancel()


async def _read(
    session: AgentSession,
    receive: Receive,
    to_server: MemoryObjectSendStream[Item],
    answer: Send,
    waiting: OpenRequests,
) -> None:
    async with to_server:
        async for line, size in _lines(receive):
            if size > MAX_LINE:
                await anyio.to_thread.run_sync(_too_large, session, size)
                await answer(
                    _error(_id_of(line), INVALID_REQUEST, f"the message has more than {MAX_LINE} bytes")
                )
                continue
            try:
                message = mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False)
            except (ValueError, RecursionError):
                await answer(_error(_id_of(line[:_HEAD]), PARSE_ERROR, "this is no message of JSON-RPC"))
                continue
            if isinstance(message, mcp_types.JSONRPCRequest):
                if message.id in waiting:  # it would not be counted, and be answered together with the first
                    await answer(_error(None, INVALID_REQUEST, "a request with this id has no answer yet"))
                    continue
                await waiting.add(message.id, size)
            elif isinstance(message, mcp_types.JSONRPCNotification) and message.method == CANCELLED:
                waiting.remove((message.params or {}).get("requestId"))
            try:
                await to_server.send(SessionMessage(message))
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return


async def _write(
    from_server: MemoryObjectReceiveStream[SessionMessage],
    answer: Send,
    waiting: OpenRequests,
) -> None:
    async with from_server:
        async for item in from_server:
            if isinstance(item.message, mcp_types.JSONRPCResponse | mcp_types.JSONRPCError):
                waiting.remove(item.message.id)
            await answer(item.message.model_dump_json(by_alias=True, exclude_unset=True).encode())


async def _lines(receive: Receive) -> AsyncIterator[tuple[bytes, int]]:
    """Yield each line with its size; of a line that is too long, only the beginning."""
    parts: list[bytes] = []
    size = 0
    while data := await receive():
        *ends, rest = data.split(b"\n")
        for end in ends:
            size += len(end)
            parts.append(end)
            line = b"".join(parts)
            if line.strip():
                yield line, size
            parts, size = [], 0
        size += len(rest)
        if size <= MAX_LINE:
            parts.append(rest)
        else:
            parts = [b"".join(parts)[:_HEAD]]


def _too_large(session: AgentSession, size: int) -> None:
    session.refuse("(too large)", f"a message of {size} bytes; the most is {MAX_LINE}", "unread")


def _id_of(head: bytes) -> Any:
    """Return the id of a request whose beginning is `head`; None if it does not stand there."""
    found = _ID.match(head.lstrip())
    return None if found is None else json.loads(found[1])


def _error(request: Any, code: int, text: str) -> bytes:
    error = {"code": code, "message": text}
    return json.dumps({"jsonrpc": "2.0", "id": request, "error": error}).encode()
