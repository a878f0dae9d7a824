"""Files of lines, each a JSON object, to which a sweep only adds (`append_line`, `read_lines`)."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kit.core.digest import canonical_json
from kit.core.files import disk_errors
from kit.core.reading import open_file


def append_line(path: Path, document: Mapping[str, Any]) -> None:
    """Append one JSON object as a line and sync it; a line that was cut off is ended first."""
    with disk_errors(path), path.open("ab+") as f:
        cut_off = f.tell() > 0 and (f.seek(-1, os.SEEK_END), f.read(1))[1] != b"\n"
        f.write((b"\n" if cut_off else b"") + canonical_json(dict(document)) + b"\n")
        f.flush()
        os.fsync(f.fileno())


def read_lines(path: Path) -> tuple[dict[str, Any], ...]:
    """Return the JSON objects of a file of lines; a line that a crash cut off is left out."""
    try:
        with open_file(path) as f:
            lines = f.readlines()
    except FileNotFoundError:
        return ()
    found = []
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(line)
            if isinstance(value, dict) and line.endswith(b"\n"):
                found.append(value)
    return tuple(found)
