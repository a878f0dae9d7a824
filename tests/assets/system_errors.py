"""System calls that fail, for tests of disks and file systems."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NoReturn


def failing(code: int) -> Callable[..., NoReturn]:
    """Return a function that fails with an error number of the system, whatever its arguments are."""

    def call(*_: object, **__: object) -> NoReturn:
        raise OSError(code, os.strerror(code))

    return call
