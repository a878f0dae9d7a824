"""
Running many attacks: alone where it is about time, else two at a time; Docker in a daemon of the suite's own.

The smoke profile's guests are two processes: two lanes fill the waits of starts, deadlines and kills. What an
attack comes to must not depend on what runs beside it.
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
class Found:
    """What came of a whole pass."""

    outcomes: list[suite.Recorded]
    wall_s: float


@contextlib.contextmanager
def engine(runtime: str) -> Iterator[dict[str, str]]:
    """Bring the image, and for Docker a daemon; give the environment in which the kit finds it."""
    _speedrun("image", "build", "cpu", env={})
    if runtime != "docker":
        yield {}
        return
    if BINARY is None or os.geteuid() != 0:
        raise SystemExit("hostile: the attacks in Docker need dockerd, as root; or: RUNTIME=runc")
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
) -> Found:
    """Run the attacks in one runtime; an attack that cannot be run is told, and has no outcome."""
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
    return Found(outcomes, time.monotonic() - began)


def alone(attack: suite.Attack) -> bool:
    """Tell whether an attack must have the machine for itself: comparisons of time need that."""
    return "baseline" in attack.audit and not attack.beside


def _speedrun(*arguments: str, env: dict[str, str]) -> None:
    command = [sys.executable, "-m", "kit.cli", *arguments]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"hostile: {' '.join(arguments)}: {done.stderr[-2000:]}")
