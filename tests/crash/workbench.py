"""The environment of the crash tests: directories, keys, a guest that ignores signals, an engine."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dockerd import Dockerd

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
LOAD = (sys.executable, "-m", "kit.cli", "image", "load", "cpu")

GUEST = """\
import os, signal, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
for step in (0, 10, 20):
    loss = f"{5 - step / 20:.4f}"
    print(f"step:{step}/20 val_loss:{loss} train_time:{step * 50}ms step_avg:50.00ms", flush=True)
    time.sleep(0.4)
"""


@dataclass(frozen=True)
class Engine:
    """A runtime and the URL of its engine."""

    runtime: str
    url: str = "unix:///nonexistent/docker.sock"

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "DOCKER_HOST": self.url, "PYTHONPATH": str(REPOSITORY)}


@dataclass
class Bench:
    """The directories and the engine for the runs of one table."""

    folder: Path
    engine: Engine
    random: random.Random = field(default_factory=lambda: random.Random(20261123))
    count: int = 0
    daemon: Any = None
    """The Docker daemon that the harness started."""

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    def submission(self, script: str = GUEST) -> Path:
        """Create the directory of a submission and return it."""
        folder = self.folder / f"submission-{abs(hash(script)):x}"
        folder.mkdir(exist_ok=True)
        (folder / "train_gpt2.py").write_text(script)
        return folder

    def out(self) -> Path:
        """Return a new path for a directory of runs."""
        self.count += 1
        return self.folder / f"runs-{self.count}"

    def command(
        self, out: Path, point: str = "-", action: str = "kill", *more: str, script: str = GUEST
    ) -> list[str]:
        """Return the command line of one run."""
        return [
            sys.executable, str(HERE / "dying.py"), point, action, "--",
            *("eval", "--record", "3", "--profile", "smoke", "--runtime", self.engine.runtime, "--json"),
            *("--submission", str(self.submission(script)), "--out", str(out), "--keys", str(self.keys)),
            *more,
        ]  # fmt: skip

    def start(self, command: list[str]) -> subprocess.Popen[str]:
        """Start a command in a new session."""
        return subprocess.Popen(
            command, env=self.engine.env, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip


@contextlib.contextmanager
def bench(runtime: str) -> Iterator[Bench]:
    """Yield a bench in a new directory; for Docker, also with a new daemon that has the `cpu` image."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crash-")))
        if runtime == "runc":
            yield Bench(folder, Engine(runtime))
            return
        daemon = own_daemon()
        stack.callback(daemon.stop)
        daemon.start()
        found = Bench(folder, Engine(runtime, daemon.url), daemon=daemon)
        subprocess.run(LOAD, env=found.engine.env, check=True, capture_output=True)
        yield found


def own_daemon() -> Dockerd:
    """Return a new Docker daemon for the harness that is not started yet."""
    return Dockerd()


@contextlib.contextmanager
def empty_engine(bench: Bench) -> Iterator[Bench]:
    """Yield a bench with a Docker daemon that has no image."""
    daemon = own_daemon()
    folder = Path(tempfile.mkdtemp(dir=bench.folder))
    try:
        daemon.start()
        yield Bench(folder, Engine("docker", daemon.url), daemon=daemon)
    finally:
        daemon.stop()
