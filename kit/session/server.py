"""
Serve a session's tools through the Model Context Protocol, on stdin and stdout or on a Unix socket.

Only this module and `kit.session.messages` import the SDK.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread
import mcp_types
from mcp.server.lowlevel import Server

from kit import __version__
from kit.core.errors import PrerequisiteError, UsageError
from kit.core.files import disk_errors
from kit.session.messages import serve_client
from kit.session.session import AgentSession
from kit.session.tools import TOOLS, ToolAnswer, ToolName

NAME = "speedrun-session"
MAX_CLIENTS = 16
THREADS = 24
POLL_S = 0.2
CHUNK = 1 << 16
MAX_SOCKET_PATH = 100


def serve_stdio(session: AgentSession, stopped: Callable[[], bool]) -> None:
    """Serve one client on stdin and stdout until it closes stdin or `stopped` returns True."""
    anyio.run(_on_stdio, session, stopped)


def serve_socket(
    session: AgentSession,
    path: Path,
    stopped: Callable[[], bool],
    ready: Callable[[], None] = lambda: None,
) -> None:
    """
    Serve clients on a Unix socket at `path`, which only this user can open, until `stopped` returns True.

    `ready` is called once, when clients can connect. Raises `UsageError` if the path exists and is no stale
    socket, or is too long for a socket.
    """
    anyio.run(_on_socket, session, path, stopped, ready)


def make_server(session: AgentSession, threads: anyio.CapacityLimiter) -> Server[Any]:
    """
    Return an MCP server whose tools are those of the session.

    The SDK logs no warnings from then on: it writes one for every malformed notification, which a client can
    send until the disk of stderr is full, or until a pipe that nobody reads stops the server.
    """
    logging.getLogger("mcp").setLevel(logging.ERROR)

    async def list_tools(context: Any, params: Any) -> mcp_types.ListToolsResult:
        """Return the tools with their schemas."""
        return mcp_types.ListToolsResult(
            tools=[
                mcp_types.Tool(name=tool.name, description=tool.text, input_schema=tool.schema())
                for tool in TOOLS.values()
            ]
        )

    async def call_tool(context: Any, params: mcp_types.CallToolRequestParams) -> mcp_types.CallToolResult:
        """Do one call in a thread; guests have threads of their own."""
        client = _client_name(context)
        arguments = params.arguments or {}
        limiter = None if params.name in (ToolName.TRY, ToolName.EVALUATE) else threads
        answer = await anyio.to_thread.run_sync(session.call, params.name, arguments, client, limiter=limiter)
        return _result(answer)

    return Server(
        NAME,
        version=__version__,
        instructions="Call the tool brief first: it has the task and the rules.",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _client_name(context: Any) -> str:
    params = getattr(getattr(context, "session", None), "client_params", None)
    info = getattr(params, "client_info", None)
    return "mcp" if info is None else f"{info.name} {info.version}"


def _result(answer: ToolAnswer) -> mcp_types.CallToolResult:
    return mcp_types.CallToolResult(
        content=[mcp_types.TextContent(type="text", text=answer.text)],
        structured_content=answer.values,
        is_error=answer.is_error,
    )


async def _on_stdio(session: AgentSession, stopped: Callable[[], bool]) -> None:
    """Take stdin and stdout for the protocol; anything else that is printed goes to stderr."""
    incoming, outgoing = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    waits_in, waits_out = _can_wait(incoming), _can_wait(outgoing)

    async def receive() -> bytes:
        if waits_in:
            await anyio.wait_readable(incoming)
        data = os.read(incoming, CHUNK)
        if not data:
            session.stop()  # at once: serving ends only after its calls
        return data

    async def send(data: bytes) -> None:
        while data:
            if waits_out:  # for a client that does not read: a blocked write could not be cancelled
                await anyio.wait_writable(outgoing)
            data = data[os.write(outgoing, data[: select.PIPE_BUF]) :]

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_when, stopped, session, tasks.cancel_scope)
            await serve_client(session, make_server(session, anyio.CapacityLimiter(THREADS)), receive, send)
            tasks.cancel_scope.cancel()
    finally:
        os.close(incoming)
        os.close(outgoing)


def _can_wait(fd: int) -> bool:
    """Tell whether epoll takes the file: it refuses what never blocks, a regular file or /dev/null."""
    with contextlib.closing(select.epoll()) as poll:
        try:
            poll.register(fd)
        except PermissionError:
            return False
    return True


async def _cancel_when(stopped: Callable[[], bool], session: AgentSession, scope: anyio.CancelScope) -> None:
    while not stopped():
        await anyio.sleep(POLL_S)
    session.stop()
    scope.cancel()


async def _on_socket(
    session: AgentSession, path: Path, stopped: Callable[[], bool], ready: Callable[[], None]
) -> None:
    _remove_stale(path)
    before = os.umask(0o177)
    try:
        with disk_errors(path):
            listener = await anyio.create_unix_listener(path, mode=0o600)
    finally:
        os.umask(before)
    ready()
    server = make_server(session, anyio.CapacityLimiter(THREADS))
    places = anyio.Semaphore(MAX_CLIENTS)

    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            try:
                places.acquire_nowait()
            except anyio.WouldBlock:
                return
            try:
                await serve_client(session, server, lambda: _received(stream), stream.send)
            except Exception as e:  # the fault of one client must not end the others
                text = f"its connection was closed: {type(e).__name__}"
                await anyio.to_thread.run_sync(session.refuse, "(connection)", text, "unread")
            finally:
                places.release()

    try:
        async with anyio.create_task_group() as tasks, listener:
            tasks.start_soon(_cancel_when, stopped, session, tasks.cancel_scope)
            await listener.serve(serve)
    finally:
        path.unlink(missing_ok=True)


async def _received(stream: anyio.abc.SocketStream) -> bytes:
    try:
        return await stream.receive(CHUNK)
    except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        return b""


def _remove_stale(path: Path) -> None:
    """
    Remove a socket that no process listens on.

    Raises `UsageError` for anything else at this path, and `PrerequisiteError` without its directory.
    """
    if len(os.fsencode(path.absolute())) > MAX_SOCKET_PATH:
        raise UsageError(
            f"the path of the socket is longer than {MAX_SOCKET_PATH} bytes: {path}",
            "pass a shorter one, such as --socket /tmp/session.sock",
        )
    if not path.parent.is_dir():
        raise PrerequisiteError(f"{path.parent} is no directory", "create it, or pass another --socket")
    if not os.path.lexists(path):
        return
    free = False
    if path.is_socket():
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                free = True
            except OSError:
                free = False
    if not free:
        raise UsageError(f"{path} exists, and is in use or no socket", "pass another path, or remove it")
    path.unlink()
