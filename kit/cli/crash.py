"""Write the traceback of an unexpected exception to a file that a user can send with a bug report."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from kit import __version__
from kit.core.errors import KitError
from kit.core.facts import PACKAGE
from kit.core.home import default_store


def write_traceback(error: BaseException) -> Path | None:
    """
    Write the traceback to a new private file and return its path; None if no directory is writable.

    The directory is `errors` in the default store, or else the directory for temporary files.
    """
    text = f"speedrun {__version__}\n{''.join(traceback.format_exception(error))}"
    prefix = time.strftime("speedrun-error-%Y%m%dT%H%M%SZ-", time.gmtime())
    for directory in _directories():
        with contextlib.suppress(OSError):
            directory.mkdir(parents=True, exist_ok=True)
            fd, name = tempfile.mkstemp(prefix=prefix, suffix=".txt", dir=directory)
            with os.fdopen(fd, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
            return Path(name)
    return None


def describe_place(error: BaseException) -> str:
    """Return the line of the package that raised the error, as `kit/cli/eval.py:12`, or an empty text."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        file = Path(frame.filename)
        if file.is_relative_to(PACKAGE):
            return f"{file.relative_to(PACKAGE.parent)}:{frame.lineno}"
    return ""


def _directories() -> Iterator[Path]:
    with contextlib.suppress(KitError):
        yield default_store() / "errors"
    with contextlib.suppress(OSError):
        yield Path(tempfile.gettempdir())
