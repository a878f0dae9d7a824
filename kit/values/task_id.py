"""The names of records and tasks: `3`, `21c`, `smoke-1`. A task has the name of its start record."""

from __future__ import annotations

import re

from kit.core.errors import UsageError

TASK_ID = re.compile(r"(?:[1-9][0-9]{0,2}[a-z]?|smoke-[1-9])", re.ASCII)

PAPER_SET = "paper-1"
"""The benchmark's first set of tasks: the 19 of arXiv 2506.22419, version 1."""


def task_id(text: str | int) -> str:
    """Return a record's or task's name. Raises `UsageError` for what is none."""
    name = str(text)
    if not TASK_ID.fullmatch(name):
        raise UsageError(f"{name[:40]!r} is not the name of a record", "names are 3, 21c or smoke-1")
    return name


def file_label(name: str) -> str:
    """Return a name as it stands in file names: numbers with two digits, `03` and `21c`."""
    number = re.match(r"[0-9]+", name)
    return name if number is None else f"{int(number[0]):02d}{name[number.end() :]}"


def leading_number(name: str) -> int:
    """Return the number that a name begins with; 0 for one that begins with none."""
    number = re.match(r"[0-9]+", name)
    return 0 if number is None else int(number[0])


def listed_as(name: str) -> str | int:
    """Return a name as machine-readable answers give it: a number where it is one, as in version 0.1."""
    return int(name) if name.isdigit() else name
