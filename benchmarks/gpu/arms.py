"""
The two arms of the GPU benchmarks: a script under the kit, and the same script under bare torchrun.

Both start with cold caches, and both are ended from outside. Judges nothing.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from kit.benchmark import records
from kit.core.facts import facts_root
from kit.gpu.nvml import Driver
from kit.sandbox import processes
from kit.values.hardware import RECORD_GPUS

GRACE_S = 60.0
KIT = (sys.executable, "-m", "kit.cli")
STEP = re.compile(r"step:(\d+)/\d+ (?:train_loss:\S+ )?train_time:(\d+)ms")
CLASSIC_STEP = re.compile(r"step +(\d+)/\d+ \|")
VAL = re.compile(r"(?:step:\d+/\d+ val_loss:|val loss )(\d+\.\d+)")


@dataclass(frozen=True, slots=True)
class Command:
    """How a command ended."""

    code: int
    wall_s: float
    stdout: str
    stderr: str


class Budget:
    """
    The time of a benchmark. At its end, and at Ctrl-C or SIGTERM, the commands that run are interrupted.

    The kit then kills its guests and signs the runs, so what was measured until then can be shown.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._children: set[subprocess.Popen[str]] = set()
        self.is_interrupted = False
        self.at_interrupt: list[Callable[[], None]] = []
        """What ends a process that `run` did not start."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._interrupt)

    @property
    def left_s(self) -> float:
        """The seconds that are left; none after an interruption."""
        return 0.0 if self.is_interrupted else max(0.0, self._end - time.monotonic())

    def _interrupt(self, number: int, frame: object) -> None:
        self.is_interrupted = True
        for child in tuple(self._children):
            child.send_signal(signal.SIGINT)
        for end in tuple(self.at_interrupt):
            end()

    def run(self, argv: Sequence[str], env: Mapping[str, str]) -> Command:
        """Run a command until it ends or the time does; an interrupted one gets `GRACE_S` to sign its run."""
        began = time.monotonic()
        if not self.left_s:
            return Command(130, 0.0, "", "no time was left to start it")
        child = subprocess.Popen(
            argv, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
        self._children.add(child)
        try:
            stdout, stderr = child.communicate(timeout=self.left_s)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGINT)
            try:
                stdout, stderr = child.communicate(timeout=GRACE_S)
            except subprocess.TimeoutExpired:
                child.kill()
                stdout, stderr = child.communicate()
        self._children.discard(child)
        return Command(child.returncode, time.monotonic() - began, stdout, stderr)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where things lie."""

    data: Path
    """Folder of shards."""
    store: Path
    """The kit's store, which holds the same shards and upstream's scripts."""
    out: Path
    """Folder for runs and logs."""
    runtime: str = "runc"
    image: str = "host"
    """Era of the runs under the kit."""
    gpus: int = 1
    """Of each run; as many ranks."""
    visible: str | None = None
    """CUDA_VISIBLE_DEVICES of the runs; None leaves it as it is."""
    profile: str = "full"
    """With `smoke`, runs use CPUs, and as many ranks as records/smoke.toml says."""
    budget: Budget | None = None
    """Bounds the kit's commands; None leaves them to their own deadlines."""

    def env(self) -> dict[str, str]:
        """Return the environment of the commands that start runs."""
        shown = {} if self.visible is None else {"CUDA_VISIBLE_DEVICES": self.visible}
        return {**os.environ, **shown}


def machine_options(p: argparse.ArgumentParser) -> None:
    """Add the arguments that make a `Machine`."""
    for name in ("data", "store", "out"):
        p.add_argument(name, type=Path)
    p.add_argument("--runtime", default="runc")
    p.add_argument("--gpus", type=int, default=1, help="GPUs of each run.")


def machine_of(a: argparse.Namespace) -> Machine:
    """Return the machine of parsed arguments, and make its folder."""
    a.out.mkdir(parents=True, exist_ok=True)
    return Machine(a.data, a.store, a.out, a.runtime, gpus=a.gpus)


def pinned_options(p: argparse.ArgumentParser, record: int, seconds: float) -> None:
    """Add the arguments of a benchmark in a record's own image, with their defaults, for `pinned_machine`."""
    for name in ("store", "out"):
        p.add_argument(name, type=Path)
    p.add_argument("--record", default=str(record), help="Its image is used.")
    p.add_argument("--image", help="Another era's image.")
    p.add_argument("--profile", choices=["full", "smoke"], default="full", help="smoke: on CPUs.")
    p.add_argument("--gpus", type=int, default=2, help="GPUs of each run.")
    p.add_argument("--runtime", default="runc")
    p.add_argument("--limit", type=float, default=seconds, help="Seconds for all of it, at most.")


def pinned_machine(a: argparse.Namespace) -> Machine:
    """Return the machine of parsed arguments with a budget, and make its folder."""
    a.out.mkdir(parents=True, exist_ok=True)
    smoke = a.profile == "smoke"
    era = a.image or ("cpu" if smoke else records.load(facts_root() / "records", a.record).era)
    gpus = 0 if smoke else a.gpus
    budget = Budget(a.limit)
    return Machine(a.store, a.store, a.out, a.runtime, era, gpus, profile=a.profile, budget=budget)


@dataclass(frozen=True, slots=True)
class Kitted:
    """One run under the kit."""

    code: int
    wall_s: float
    """Of the whole command."""
    folder: Path | None
    predicate: dict[str, Any] = field(default_factory=dict)
    said: str = ""
    """Its last words on stderr."""

    @property
    def overhead_s(self) -> float:
        """Return the seconds of the command in which the guest did not run."""
        return self.wall_s - float(self.predicate["observations"]["wall_s"])

    def lines(self) -> list[tuple[float, str]]:
        """Return (seconds since the guest's start, text) of each whole line."""
        if self.folder is None:
            return []
        data, at, found = (self.folder / "guest.log").read_bytes(), 0, []
        for row in (self.folder / "stamps").read_text().splitlines():
            t_ns, _, size, _ = json.loads(row)
            found.append((t_ns / 1e9, data[at : at + size].decode(errors="replace").rstrip("\n")))
            at += size
        return found


def run_command(machine: Machine, argv: Sequence[str]) -> Command:
    """Run a command of the kit to its end, within the machine's budget if it has one."""
    if machine.budget is not None:
        return machine.budget.run(argv, machine.env())
    began = time.monotonic()
    done = subprocess.run(
        argv, env=machine.env(), capture_output=True, text=True, errors="replace", check=False
    )
    return Command(done.returncode, time.monotonic() - began, done.stdout, done.stderr)


def place_options(machine: Machine, record: int | str) -> list[str]:
    """Return the options that `eval` and `cache make` share."""
    shared = ["--record", str(record), "--profile", machine.profile, "--image", machine.image]
    shared += ["--gpus", str(machine.gpus)] if machine.profile == "full" else []
    shared += ["--runtime", machine.runtime, "--store", str(machine.store)]
    return [*shared, "--keys", str(machine.out / "keys"), "--json"]


def under_the_kit(
    machine: Machine, record: int | str, *options: str, submission: Path | None = None
) -> Kitted:
    """Run `speedrun eval`, with this machine's own files unless an image is named."""
    asked = [*KIT, "eval", *place_options(machine, record), "--out", str(machine.out / "runs")]
    asked += ["--python", sys.executable] if machine.image == "host" else []
    asked += ["--accept-world-size"] if machine.profile == "full" and machine.gpus != RECORD_GPUS else []
    asked += ["--submission", str(submission)] if submission else []
    done = run_command(machine, [*asked, *options])
    try:
        bundle = Path(json.loads(done.stdout)["bundle"])
    except (ValueError, KeyError):
        return Kitted(done.code, done.wall_s, None, {}, done.stderr[-600:])
    payload = json.loads(bundle.read_bytes())["dsseEnvelope"]["payload"]
    predicate = json.loads(base64.b64decode(payload))["predicate"]
    return Kitted(done.code, done.wall_s, bundle.parent, predicate, done.stderr[-600:])


@dataclass(frozen=True, slots=True)
class Bare:
    """One run under torchrun alone."""

    code: int | None
    """None if it was ended from outside."""
    wall_s: float
    lines: list[tuple[float, str]]
    errors: str


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def under_torchrun(
    machine: Machine,
    script: Path,
    arguments: Sequence[str] = (),
    *,
    enough: Callable[[str], bool] = lambda line: False,
    patience_s: float = 600.0,
    data: Path | None = None,
    env: dict[str, str] | None = None,
    caches: Path | None = None,
) -> Bare:
    """
    Run a script until a line is `enough`, it ends, or patience does; then kill all of it.

    `caches` is where compilers keep their work; by default a fresh folder.
    """
    with tempfile.TemporaryDirectory(prefix="bare-") as name:
        folder = Path(name)
        for file in script.parent.glob("*.py") if script.name == "train_gpt2.py" else (script,):
            (folder / file.name).write_bytes(file.read_bytes())
        (folder / "data").mkdir()
        (folder / "logs" / "final").mkdir(parents=True)
        (folder / "data" / "fineweb10B").symlink_to(data or machine.data)
        argv = [sys.executable, "-m", "torch.distributed.run", "--nnodes=1"]
        argv += [
            f"--nproc_per_node={machine.gpus}",
            "--master_addr=127.0.0.1",
            f"--master_port={free_port()}",
            script.name,
            *arguments,
        ]
        kept = caches or folder
        places = {"TORCHINDUCTOR_CACHE_DIR": kept / "inductor", "TRITON_CACHE_DIR": kept / "triton"}
        (folder / "tmp").mkdir()
        places["TMPDIR"] = folder / "tmp"
        given = {**machine.env(), **{k: str(v) for k, v in places.items()}, "DATA_PATH": ".", **(env or {})}
        return read_until(argv, folder, given, enough, patience_s, machine.budget)


def read_until(
    argv: Sequence[str],
    folder: Path,
    env: dict[str, str],
    enough: Callable[[str], bool],
    patience_s: float,
    budget: Budget | None = None,
) -> Bare:
    """
    Run `argv` in `folder` until a line is `enough`, it ends, or patience does; then kill all of it.

    A budget that is interrupted kills it too.
    """
    with (folder / "stderr").open("w+b") as errors:
        began = time.monotonic()
        process = subprocess.Popen(
            argv, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
        end = partial(_end, process.pid)
        if budget is not None:
            budget.at_interrupt.append(end)
        timer = threading.Timer(patience_s, _end, (process.pid,))
        timer.start()
        lines: list[tuple[float, str]] = []
        ended = False
        assert process.stdout
        for raw in process.stdout:
            lines.append((time.monotonic() - began, raw.decode(errors="replace").rstrip("\n")))
            if enough(lines[-1][1]):
                ended = True
                break
        wall_s = time.monotonic() - began
        late = not timer.is_alive()
        timer.cancel()
        _end(process.pid)
        process.stdout.close()
        if budget is not None:
            budget.at_interrupt.remove(end)  # once it is waited for, the number may be another's
        code = process.wait()
        errors.seek(0)
        text = errors.read().decode(errors="replace")
    return Bare(None if ended or late else code, wall_s, lines, text)


def _end(pid: int) -> None:
    processes.kill_all(processes.descendants([pid]))


def until_step(number: int) -> Callable[[str], bool]:
    """Return what tells whether a line is of a training step from `number` on."""

    def enough(line: str) -> bool:
        found = STEP.match(line) or CLASSIC_STEP.match(line)
        return found is not None and int(found[1]) >= number

    return enough


def train_times(lines: Sequence[tuple[float, str]]) -> dict[int, tuple[float, int]]:
    """Return step -> (seconds on the reader's clock, the script's own milliseconds)."""
    found = ((t, STEP.match(line)) for t, line in lines)
    return {int(m[1]): (t, int(m[2])) for t, m in found if m}


def losses(lines: Sequence[tuple[float, str]]) -> list[float]:
    """Return the claimed validation losses in order."""
    return [float(m[1]) for _, line in lines if (m := VAL.match(line))]


def gpu_memory() -> list[tuple[int, int]]:
    """Return (MiB in use, processes) of each GPU, by NVML."""
    return [(gpu.used >> 20, len(gpu.processes)) for gpu in Driver().read().gpus]


def submission(
    folder: Path, script: bytes, arguments: Sequence[str] = (), entry: str = "train_gpt2.py"
) -> Path:
    """Write a submission and return its folder; `entry` is what the script of its task is called."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / entry).write_bytes(script)
    (folder / "run.toml").write_text(f"args = {json.dumps(list(arguments))}\n")
    return folder


def row(*cells: object) -> None:
    """Print a row of a Markdown table."""
    print("| " + " | ".join(str(c) for c in cells) + " |", flush=True)
