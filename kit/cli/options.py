"""Options that several commands share, and their defaults."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from kit.core.errors import PrerequisiteError
from kit.core.home import default_keys, default_store
from kit.values.task_id import TASK_ID, suggestion


class Number(click.FloatRange):
    """A finite number in a range. Refuses `nan`, which passes every comparison of `FloatRange`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.FloatRange.convert`."""
        number = super().convert(value, param, ctx)
        return number if math.isfinite(number) else self.fail(f"{value} is not a number.", param, ctx)


class TaskName(click.ParamType[int | str]):
    """The name of a record or task: a number, passed as int, or a name such as `21c` or `smoke-1`."""

    name = "task"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.ParamType.convert`."""
        text = str(value).strip()
        if re.fullmatch(r"-?[0-9]{1,9}", text, re.ASCII):
            return int(text)
        if TASK_ID.fullmatch(text):
            return text
        return self.fail(f"{text!r} is not the name of a record: {suggestion(text)}", param, ctx)


TASK_NAME = TaskName()

_NUMBER = r"(\d+(?:\.\d+)?)"
_UNITS = re.compile(rf"(?:{_NUMBER}d)?\s*(?:{_NUMBER}h)?\s*(?:{_NUMBER}m)?\s*(?:{_NUMBER}s)?", re.ASCII)
_SECONDS = (86400, 3600, 60, 1)


class Duration(Number):
    """A duration, passed in seconds. Takes a number of seconds, or units: `90s`, `10m`, `1h30m`, `2d`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.FloatRange.convert`."""
        text = str(value).strip()
        units = _UNITS.fullmatch(text) if text else None
        if units is not None:
            value = sum(
                float(number) * unit for number, unit in zip(units.groups(), _SECONDS, strict=True) if number
            )
        else:
            try:
                float(text)
            except ValueError:
                self.fail(f"{text!r} is not a duration: try seconds (600), or 90s, 10m, 1h30m.", param, ctx)
        return super().convert(value, param, ctx)

    def _describe_range(self) -> str:
        """Return the range with units; click shows it in help texts and errors."""
        least, most = _with_unit(self.min or 0), self.max
        return f"{least} or more" if most is None else f"{least} to {_with_unit(most)}"


def _with_unit(seconds: float) -> str:
    """Return a duration in the largest unit of which it is a whole number."""
    units = zip("dhms", _SECONDS, strict=True)
    return next(
        (f"{seconds / size:g}{unit}" for unit, size in units if seconds and not seconds % size),
        f"{seconds:g}s",
    )


_PROFILE = partial(click.option, "--profile", type=click.Choice(["full", "smoke"]))
_PROFILES = "full: 8 GPUs and FineWeb; smoke: CPU and synthetic data, never ranked."
profile_option = _PROFILE(default="full", show_default=True, help=_PROFILES)
"""`--profile`, passed as `profile: str`."""
task_profile_option = _PROFILE(help=f"{_PROFILES}  [default: the task's]")
"""The same; passed as `profile: str | None`, None for the profile that the task has."""

image_option = click.option(
    "--image", metavar="ERA", help="Image to run in.  [default: the record's era; smoke: cpu]"
)
"""`--image ERA`, passed as `image: str | None`."""


def retime_option(least: int = 0, default: int = 0) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Return `--retime RUNS`, passed as `retime: int`."""
    return click.option(
        "--retime",
        type=click.IntRange(least, 1000),
        default=default,
        show_default=True,
        metavar="RUNS",
        help="Time the winner again at the end: this many runs in a new series, with all audits.",
    )


DEADLINE = Duration(min=0.1, max=7 * 86400)


def with_options(command: Callable[..., int], options: Sequence[Any]) -> Callable[..., int]:
    """Add options to a command, the first one first."""
    for option in reversed(options):
        command = option(command)
    return command


def deadline_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the five deadline flags."""
    texts = {
        "start": "until the script's first line of output",
        "warmup": "from the first line to the first timed step",
        "stall": "without a new step",
        "teardown": "from the last validation to the exit",
        "total": "for the whole run",
    }
    options = [
        click.option(
            f"--{name}-deadline", f"{name}_s", type=DEADLINE, metavar="DURATION", help=f"Timeout {text}."
        )
        for name, text in texts.items()
    ]
    return with_options(command, options)


def _if_any(directory: Callable[[], Path]) -> Path | None:
    """Return a default directory; None for a user without a home directory."""
    try:
        return directory()
    except PrerequisiteError:
        return None


python_option = click.option(
    "--python",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Interpreter with torch, for --image host.  [default: python3 on the PATH]",
)
"""`--python FILE`, passed as `python: Path | None`."""

_STORE = partial(
    click.option,
    "--store",
    "store",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of the store: downloads, images and data.  [default: ~/.cache/speedrun-kit]",
)
store_option = _STORE(default=default_store)
"""`--store DIR`, passed as `store: Path`."""
store_if_any_option = _STORE(default=partial(_if_any, default_store))
"""The same; passed as `store: Path | None`, None for a user without a home directory."""

mirror_option = click.option(
    "--mirror",
    "mirror",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=None,
    help="Directory of downloads that you have, such as wheels; searched before the network.",
)
"""`--mirror DIR`, passed as `mirror: Path | None`."""


data_lock_option = click.option(
    "--data-lock",
    "data_locks",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    help="Data lock that the board accepts, instead of those that its board.toml names. Repeatable.",
)
"""`--data-lock FILE`, passed as `data_locks: tuple[Path, ...]`."""

board_base_option = click.option(
    "--base",
    "base",
    type=click.Path(path_type=Path),
    help="Earlier state of the repository, such as the base branch: what it has is no copy.",
)
"""`--base DIR`, passed as `base: Path | None`."""

upstream_option = click.option(
    "--upstream",
    "upstream",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=None,
    help="Clone of KellerJordan/modded-nanogpt to read scripts from, instead of the network.",
)
"""`--upstream DIR`, passed as `upstream: Path | None`."""


_KEYS = partial(
    click.option,
    "--keys",
    "keys",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory with your signing key and the public keys that you trust (*.pem).  "
    "[default: ~/.config/speedrun-kit/keys]",
)
keys_option = _KEYS(default=default_keys)
"""`--keys DIR`, passed as `keys: Path`."""
keys_if_any_option = _KEYS(default=partial(_if_any, default_keys))
"""The same; passed as `keys: Path | None`, None for a user without a home directory."""

TASK_SETS = click.Choice(["paper", "later", "all"])
"""The values of `kit.benchmark.tasks.TaskSet`."""
set_option = click.option(
    "--set",
    "chosen",
    type=TASK_SETS,
    help="Tasks: the paper's 19, those after them, or both.  [default: paper; with --after: all]",
)
after_option = click.option(
    "--after",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="Only tasks whose target record is newer than this day, such as 2026-01-01.",
)


def task_choice(chosen: str | None, after: datetime.datetime | None) -> tuple[str, datetime.date | None]:
    """Return the set and the day of `set_option` and `after_option`."""
    return chosen or ("paper" if after is None else "all"), None if after is None else after.date()
