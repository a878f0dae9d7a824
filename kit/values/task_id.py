"""Names of records and tasks: `3`, `21c`, `smoke-1`. A task has the name of its start record."""

from __future__ import annotations

import re

from kit.core.errors import UsageError

TASK_ID = re.compile(r"(?:[1-9][0-9]{0,2}[a-z]?|smoke-[1-9])", re.ASCII)

PAPER_SET = "paper-1"
"""The benchmark's first set of tasks: the 19 of arXiv 2506.22419, version 1."""
LATER_SET = "later-1"
"""The tasks after the paper's, up to record 89."""
PAPER_LAST = 21
"""The paper's last record."""

SMOKE = "smoke-"
"""How the names of smoke records begin."""

SMOKE_SET = "smoke-tasks-1"
"""The first set of smoke tasks: small scripts on CPUs, never ranked."""


def is_smoke(name: str) -> bool:
    """Tell whether a name is that of a smoke record or task."""
    return name.startswith(SMOKE)


def set_of(name: str) -> str:
    """Return the set that a task belongs to."""
    if is_smoke(name):
        return SMOKE_SET
    return PAPER_SET if name.isdigit() and int(name) <= PAPER_LAST else LATER_SET


def task_id(text: str | int) -> str:
    """Return a valid name of a record or task. Raises `UsageError` for any other text."""
    name = str(text)
    if not TASK_ID.fullmatch(name):
        raise UsageError(f"{name[:40]!r} is not the name of a record", suggestion(name))
    return name


def suggestion(text: str) -> str:
    """Return what to write in place of a text that is no name: the name that it may mean, or examples."""
    meant = text.strip().lower()
    return f"did you mean {meant}?" if TASK_ID.fullmatch(meant) else "use a name such as 3, 21c or smoke-1"


def file_label(name: str) -> str:
    """Return a name as used in file names, with two digits: `03`, `21c`."""
    number = re.match(r"[0-9]+", name)
    return name if number is None else f"{int(number[0]):02d}{name[number.end() :]}"


def leading_number(name: str) -> int:
    """Return the number at the start of a name, or 0."""
    number = re.match(r"[0-9]+", name)
    return 0 if number is None else int(number[0])


def in_order(task: str | int) -> tuple[int, str]:
    """Return a key that sorts names as the records follow on each other: 21, 21c, 22."""
    return leading_number(str(task)), str(task)


def listed_as(name: str) -> str | int:
    """Return a name as JSON output gives it: as a number if it is one, as in version 0.1."""
    return int(name) if name.isdigit() else name
