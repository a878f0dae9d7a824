"""Runs the recorded commands of tests/assets/golden again and compares their answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "golden"
REPOSITORY = Path(__file__).parents[2]

GROWING = {"hint-lint": ("hints",)}
"""Counts, by command, of what the kit holds: they may be larger than when they were recorded."""


@dataclass(frozen=True)
class Recorded:
    """One command with `--json` and what it answered at dfedc9f."""

    name: str
    argv: tuple[str, ...]
    exit: int
    compare: str
    where: str
    """`unit`, or `container` if it starts guests or needs the `cpu` image."""

    @property
    def answer(self) -> Any:
        return json.loads((GOLDEN / "expected" / f"{self.name}.json").read_text())

    def __str__(self) -> str:
        return self.name


def recorded(where: str) -> list[Recorded]:
    """Return the commands that belong to one suite."""
    every = json.loads((GOLDEN / "commands.json").read_text())
    return [Recorded(**{**c, "argv": tuple(c["argv"])}) for c in every if c["where"] == where]


def speedrun(here: Path, *argv: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Run a command as a user would, in a copy of the golden assets."""
    command = [sys.executable, "-m", "kit.cli", *argv]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        command, cwd=here, env=env, capture_output=True, text=True, check=False, timeout=timeout
    )


def ask(here: Path, command: Recorded, timeout: float = 600) -> None:
    """Run a recorded command; assert its exit code and its answer."""
    done = speedrun(here, *command.argv, timeout=timeout)
    assert done.returncode == command.exit, done.stderr
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    text = done.stdout.replace(str(here), "{here}").replace(str(cache), "{cache}")
    old, new = command.answer, json.loads(text)
    for count in GROWING.get(command.name, ()):
        assert new[count] >= old.pop(count), f"$.{count} is smaller than it was"
    differences = list(differ(old, new, command.compare))
    assert not differences, "\n".join(differences)


def differ(old: Any, new: Any, compare: str, at: str = "$") -> list[str]:
    """Return where an answer breaks what was recorded, by one of the three rules of golden/README.md."""
    if isinstance(old, dict) and isinstance(new, dict):
        gone = [f"{at}.{key} is gone" for key in old if key not in new]
        return gone + [d for k in old if k in new for d in differ(old[k], new[k], compare, f"{at}.{k}")]
    if isinstance(old, list) and isinstance(new, list):
        return _differ_in_lists(old, new, compare, at)
    if compare == "shape":
        alike = old is None or new is None or _kind(old) is _kind(new)
        return [] if alike else [f"{at} was {old!r} and is {new!r}"]
    return [] if _kind(old) is _kind(new) and old == new else [f"{at} was {old!r} and is {new!r}"]


def _differ_in_lists(old: list[Any], new: list[Any], compare: str, at: str) -> list[str]:
    if compare == "shape":
        return [d for one in old[:1] for other in new[:1] for d in differ(one, other, compare, f"{at}[]")]
    if compare == "listed":
        missing = [one for one in old if all(differ(one, other, compare) for other in new)]
        return [f"{at} no longer lists {one!r}" for one in missing]
    if len(old) != len(new):
        return [f"{at} had {len(old)} elements and has {len(new)}"]
    pairs = zip(old, new, strict=True)
    return [d for i, (one, other) in enumerate(pairs) for d in differ(one, other, compare, f"{at}[{i}]")]


def _kind(value: Any) -> type:
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)
