"""Choose the runtime: the requested one, or the first that answers and isolates. Starts no guest."""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

from kit.core.errors import PrerequisiteError, UsageError
from kit.core.extras import system_install
from kit.evaluate.request import HOST_IMAGE, Request
from kit.sandbox import engine
from kit.sandbox.engine import SocketFinder, default_engine
from kit.sandbox.runtime.docker import Docker
from kit.sandbox.runtime.host import Host
from kit.sandbox.runtime.port import Runtime
from kit.sandbox.runtime.runc import Runc, installed
from kit.values.run_spec import RuntimeName


def make(name: RuntimeName, python: Path | None, socket: SocketFinder = default_engine) -> Runtime:
    """
    Return the adapter called `name`; it may still find its engine missing when it starts a guest.

    `python` is what runc offers with `--image host`, `socket` returns the URL of Docker's or Podman's
    socket. Raises what `socket` raises, for docker only.
    """
    match name:
        case RuntimeName.RUNC:
            return Runc(python)
        case RuntimeName.HOST:
            return Host()
        case RuntimeName.DOCKER:
            return Docker(socket())
        case _:
            assert_never(name)


def choose(request: Request) -> Runtime:
    """
    Return the requested runtime; without one docker if it answers, else runc.

    `host` is never chosen by itself, and docker not for this machine's own files. Raises `UsageError` for
    docker with those, what `request.engine` raises if only docker is left, and otherwise `PrerequisiteError`
    with the line that installs a runtime.
    """
    own_files = request.image == HOST_IMAGE
    if request.runtime is RuntimeName.DOCKER and own_files:
        raise UsageError(
            "the docker runtime cannot run --image host", "use --runtime runc, or name an era with --image"
        )
    if request.runtime is not None:
        return make(request.runtime, request.python, request.engine)
    unknown: UsageError | None = None
    if not own_files:
        try:
            url = request.engine()
            if engine.answers(url):
                return Docker(url)
        except UsageError as e:  # Docker's settings are of no interest where runc can be used
            unknown = e
    if installed():
        return Runc(request.python)
    if unknown is not None:
        raise unknown
    raise PrerequisiteError("no container runtime found on this machine", system_install("runc"))
