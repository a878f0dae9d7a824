"""Real evaluations: the `cpu` image in the user's own store, guests that are made of one file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kit.run import processes
from kit.run.cgroup import Cgroup

REPOSITORY = Path(__file__).resolve().parents[2]
SPEEDRUN = (sys.executable, "-m", "kit.cli")


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
def arguments(tmp_path: Path) -> list[str]:
    """`eval` arguments that keep runs and keys inside the test's folder."""
    return ["--profile", "smoke", "--out", str(tmp_path / "runs"), "--keys", str(tmp_path / "keys")]


@pytest.fixture
def evaluate(arguments: list[str], tmp_path: Path):
    """Evaluate a script, or the reference trainer, and return what came of it."""

    def run(script: str | None = None, *more: str, record: int = 3) -> Evaluated:
        command = [*SPEEDRUN, "eval", "--record", str(record), "--json", *arguments, *more]
        if script is not None:
            folder = tmp_path / "submission"
            folder.mkdir(exist_ok=True)
            (folder / "train_gpt2.py").write_text(script)
            command += ["--submission", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        report = json.loads(done.stdout) if done.stdout.strip() else {}
        return Evaluated(done.returncode, report, done.stderr)

    return run


def left_of(run_id: str) -> list[str]:
    """Name whatever is left of a run's guest on this machine."""
    left = [processes.describe(pid) for pid in processes.marked(run_id)]
    left += [processes.describe(pid) for pid in Cgroup(f"/speedrun-kit/{run_id}").members()]
    state = Path("/run/speedrun-kit/runc") / run_id
    return [*left, *([str(state)] if state.exists() else [])]


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
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
