"""
Run many attacks: two at a time, or alone if timing is compared; Docker attacks use a separate daemon.

A guest of the smoke profile has two processes, so two lanes use the waits for starts, deadlines and kills.
The outcome of an attack must not depend on an attack that runs at the same time.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import suite
from dockerd import BINARY, Dockerd

LANES = 2
Told = Callable[[suite.Attack, suite.Recorded | Exception], None]


@dataclass(frozen=True)
class PassResult:
    """The outcomes of a whole pass."""

    outcomes: list[suite.Recorded]
    wall_s: float


@contextlib.contextmanager
def engine(runtime: str) -> Iterator[dict[str, str]]:
    """Build the image, start a daemon for Docker, and yield the environment variables for speedrun."""
    _speedrun("image", "build", "cpu", env={})
    if runtime != "docker":
        yield {}
        return
    if BINARY is None or os.geteuid() != 0:
        raise SystemExit(
            "hostile: attacks in Docker need root and dockerd; to skip them: make hostile RUNTIME=runc"
        )
    daemon = Dockerd()
    try:
        daemon.start()
        env = {"DOCKER_HOST": daemon.url}
        _speedrun("image", "load", "cpu", env=env)
        yield env
        if left := [*daemon.guests(), *daemon.containers()]:
            raise SystemExit(f"hostile: left behind in Docker: {', '.join(left)}")
    finally:
        daemon.stop()


def conduct(
    attacks: list[suite.Attack], places: Path, runtime: str, env: dict[str, str], told: Told
) -> PassResult:
    """Run the attacks in one runtime; report an attack that cannot run, without an outcome."""
    began = time.monotonic()
    outcomes: list[suite.Recorded] = []
    told_one_by_one = threading.Lock()

    def once(attack: suite.Attack) -> None:
        try:
            found: suite.Recorded | Exception = suite.run(attack, places, runtime, env)
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as e:
            found = e
        with told_one_by_one:
            told(attack, found)
            if isinstance(found, suite.Recorded):
                outcomes.append(found)

    beside = sorted((a for a in attacks if not alone(a)), key=lambda a: (a.kind, -len(a.audit), a.name))
    with ThreadPoolExecutor(LANES) as lanes:
        list(lanes.map(once, beside))
    for attack in (a for a in attacks if alone(a)):
        once(attack)
    return PassResult(outcomes, time.monotonic() - began)


def alone(attack: suite.Attack) -> bool:
    """Tell whether an attack must run alone, because its timing is compared."""
    return "baseline" in attack.audit and not attack.beside


def _speedrun(*arguments: str, env: dict[str, str]) -> None:
    command = [sys.executable, "-m", "kit.cli", *arguments]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"hostile: {' '.join(arguments)}: {done.stderr[-2000:]}")
