"""Real evaluations: the `cpu` image in the user's own store, guests that are made of one file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dockerd import BINARY, Dockerd

from kit.sandbox import processes
from kit.sandbox.cgroup import Cgroup
from kit.sandbox.engine import answers

REPOSITORY = Path(__file__).resolve().parents[2]
SPEEDRUN = (sys.executable, "-m", "kit.cli")
PATIENT = (
    "--start-deadline", "600", "--warmup-deadline", "600", "--stall-deadline", "600",
    "--teardown-deadline", "120", "--total-deadline", "800",
)  # fmt: skip
"""Options of `eval` for a machine that other programs keep busy; less than `suite.LIMIT_S` of the attacks."""


# whatever engine the machine has: the tests ask their own, and `auto` finds runc
os.environ.setdefault("DOCKER_HOST", "unix:///nonexistent/docker.sock")


@dataclass(frozen=True)
class Evaluated:
    """One ended `speedrun eval --json`."""

    code: int
    report: dict[str, Any]
    stderr: str

    @property
    def folder(self) -> Path:
        return Path(self.report["bundle"]).parent

    @property
    def predicate(self) -> dict[str, Any]:
        import base64

        bundle = json.loads((self.folder / "result.json").read_bytes())
        payload = base64.b64decode(bundle["dsseEnvelope"]["payload"])
        return json.loads(payload)["predicate"]


@dataclass(frozen=True)
class Contained:
    """A runtime that contains, and the environment in which the kit finds its engine."""

    name: str
    env: dict[str, str]


DAEMONS: list[Dockerd] = []
"""Those of this session, for `left_of`."""


@pytest.fixture(scope="session")
def dockerd(cpu_image: None) -> Iterator[Dockerd]:
    """A Docker daemon of this session's own that has the `cpu` image."""
    if BINARY is None or os.geteuid() != 0:
        pytest.skip("needs dockerd, as root")
    daemon = Dockerd()
    DAEMONS.append(daemon)
    try:
        daemon.start()
        load = [*SPEEDRUN, "image", "load", "cpu"]
        env = {**os.environ, "DOCKER_HOST": daemon.url}
        done = subprocess.run(load, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        yield daemon
    finally:
        DAEMONS.remove(daemon)
        daemon.stop()


@pytest.fixture(scope="session", params=["runc", "docker"])
def contained(request: pytest.FixtureRequest, cpu_image: None) -> Contained:
    """Each runtime that contains, in turn: what one promises, the other keeps."""
    env = dict(os.environ)
    if request.param == "docker":
        env["DOCKER_HOST"] = request.getfixturevalue("dockerd").url
    return Contained(request.param, env)


@pytest.fixture(scope="session")
def runtime() -> None:
    """Containers can be started here."""
    if shutil.which("runc", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None:
        pytest.skip("runc is not installed")


@pytest.fixture(scope="session")
def cpu_image(runtime: None) -> None:
    """The `cpu` image is in this user's store."""
    done = subprocess.run([*SPEEDRUN, "image", "build", "cpu"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def arguments(tmp_path: Path, contained: Contained) -> list[str]:
    """`eval` arguments that keep runs and keys inside the test's folder."""
    places = ["--out", str(tmp_path / "runs"), "--keys", str(tmp_path / "keys")]
    return ["--profile", "smoke", "--runtime", contained.name, *PATIENT, *places]


@pytest.fixture
def evaluate(arguments: list[str], tmp_path: Path, contained: Contained):
    """Evaluate a script, or the reference trainer, and return its result."""

    def run(script: str | None = None, *more: str, record: int = 3) -> Evaluated:
        command = [*SPEEDRUN, "eval", "--record", str(record), "--json", *arguments, *more]
        if script is not None:
            folder = tmp_path / "submission"
            folder.mkdir(exist_ok=True)
            (folder / "train_gpt2.py").write_text(script)
            command += ["--submission", str(folder)]
        done = subprocess.run(
            command, env=contained.env, capture_output=True, text=True, check=False, timeout=1500
        )
        assert done.stdout.strip(), done.stderr
        return Evaluated(done.returncode, json.loads(done.stdout), done.stderr)

    return run


def left_of(run_id: str) -> list[str]:
    """Name whatever is left of a run's guest on this machine."""
    left = [processes.describe(pid) for pid in processes.marked(run_id)]
    left += [processes.describe(pid) for pid in Cgroup(f"/speedrun-kit/{run_id}").members()]
    left += [str(p) for p in Path("/run/speedrun-kit").glob(f"*/{run_id}")]
    for daemon in DAEMONS:
        left += daemon.guests()
        if answers(daemon.url):
            left += [f"container of {label}" for label in daemon.containers() if label == run_id]
    return left


def wait_until(condition, seconds: float) -> bool:
    """Poll for at most that long; tell whether it came true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


def verify(path: Path, keys: Path) -> subprocess.CompletedProcess[str]:
    """Run `speedrun bundle verify`."""
    command = [*SPEEDRUN, "bundle", "verify", str(path), "--keys", str(keys)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
