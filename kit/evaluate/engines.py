"""Choosing the runtime: which ones answer here, and the first of them that contains. Starts no guest."""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

from kit.errors import PrerequisiteError
from kit.run.runtime.host import Host
from kit.run.runtime.port import Runtime
from kit.run.runtime.runc import Runc, installed
from kit.run.spec import RuntimeName

INSTALL_RUNC = "apt-get install -y --no-install-recommends runc"


def make(name: RuntimeName, python: Path | None) -> Runtime:
    """Return the adapter called `name`; it may still find its engine missing when it starts a guest."""
    match name:
        case RuntimeName.RUNC:
            return Runc(python)
        case RuntimeName.HOST:
            return Host()
        case RuntimeName.DOCKER:
            raise PrerequisiteError("the docker runtime is not part of this version", "use --runtime runc")
        case _:
            assert_never(name)


def choose(wanted: RuntimeName | None, python: Path | None) -> Runtime:
    """
    Return the runtime to use: the wanted one, or the first that contains the guest and is installed.

    `host` is never chosen by itself. Raises `PrerequisiteError` with the line that installs one.
    """
    if wanted is not None:
        return make(wanted, python)
    if installed():
        return Runc(python)
    raise PrerequisiteError("no container runtime answers on this machine", INSTALL_RUNC)
