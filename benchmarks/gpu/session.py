"""
One session with a scripted client: two tries and one evaluation, over MCP on stdio.

    python benchmarks/gpu/session.py STORE OUT --task 46 --gpus 8 --try-seconds 900 --eval-seconds 1200
    python benchmarks/gpu/session.py STORE OUT --task 62 --gpus 2 --reference 60 --try-seconds 90
    python benchmarks/gpu/session.py STORE OUT --task smoke-3 --gpus 0 --submission FOLDER

STORE has the image, the shards and the scripts of records; OUT is a new directory. Needs the extras `session`
and `score`. The client changes a comment of the start script; or its workspace gets the files of FOLDER
alone, or the reference trainer with so many steps and a line at each stage (`stages.py`). Prints each call
with the client's clock beside what the host charged, and the stages; then ends and verifies the session.
The first try ends at a step on one GPU, the second one at a time on all. Exit 1: a call was refused, `check`
found a fault, a try printed no step, the evaluation has no loss, or the session does not verify.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from arms import KIT, row
from mcp import Client, StdioServerParameters
from stages import show_stages, staged_submission

from kit.agent.nodefiles import NodeFiles
from kit.agent.recorded import BUNDLES
from kit.benchmark.submission import entry_of, load_submission
from kit.session.trials import TRIES

SHOWN = ("status", "reason", "step", "step_ms", "first_line_s", "val_loss", "time_ms", "recovered")


@dataclass(frozen=True)
class Call:
    """One call of a tool: what it answered, what it took, and what the host charged for it."""

    name: str
    values: dict[str, Any]
    client_s: float
    gpu_seconds: float
    wall_s: float
    """Of the guest alone, by the host."""
    is_error: bool


@dataclass
class Script:
    """A client that follows a script."""

    client: Client
    calls: list[Call]

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool, measure it, and return its values."""
        began = time.monotonic()
        answer = await self.client.call_tool(tool, arguments)
        took, values = time.monotonic() - began, answer.structured_content or {}
        name = f"{tool} {' '.join(f'{k}={v}' for k, v in arguments.items() if k != 'content')}"
        charged, wall = float(values.get("gpu_seconds") or 0.0), float(values.get("wall_s") or 0.0)
        self.calls.append(Call(name, values, took, charged, wall, answer.is_error))
        return values


async def follow(script: Script, a: argparse.Namespace, files: Mapping[str, str]) -> None:
    """Read the task, put files into the workspace, try it twice, and evaluate it."""
    await script.call("brief")
    await fill(script, files)
    await script.call("check")
    one = {"gpus": 1} if a.gpus else {}
    await script.call("try", steps=a.steps, seconds=a.try_seconds, lines=a.lines, **one)
    await script.call("try", seconds=a.second_try_seconds or a.try_seconds, lines=a.lines)
    await script.call("evaluate")
    await script.call("history")
    await script.call("budget")


async def fill(script: Script, files: Mapping[str, str]) -> None:
    """Leave these files alone in the workspace; without any, change a comment of its training script."""
    names = [file["path"] for file in (await script.call("list"))["files"]]
    if not files:
        name = entry_of(names)
        start = (await script.call("read", path=name))["text"]
        files = {name: f"{start}\n# a comment of the scripted client\n"}
        names = []
    for name in (name for name in names if name not in files):
        await script.call("delete", path=name)
    for name, text in files.items():
        await script.call("write", path=name, content=text)


def submitted(a: argparse.Namespace) -> dict[str, str]:
    """Return the files that the client writes; none to change a comment."""
    folder = a.submission
    if a.reference:
        folder = staged_submission(a.out / "reference", a.task, a.reference)
    if folder is None:
        return {}
    return {file.name: file.data.decode() for file in load_submission(folder).files}


def guests(calls: list[Call], folder: Path) -> dict[str, Path]:
    """Return the directories with the logs of tries and evaluation."""
    tries = [call.values.get("try") for call in calls if call.name.startswith("try")]
    found = {f"try {n}": NodeFiles(folder, n, TRIES).folder for n in tries if n is not None}
    runs = [call.values.get("run_id") for call in calls if call.name.startswith("evaluate")]
    return found | {f"evaluation {n}": folder / BUNDLES / run for n, run in enumerate(runs, 1) if run}


def begin(a: argparse.Namespace, folder: Path, keys: Path) -> None:
    """Begin the session."""
    asked = [*KIT, "session", "new", "--task", a.task, "--budget", f"wall={a.wall},evaluations=1"]
    asked += ["--runtime", a.runtime, "--out", str(folder), "--store", str(a.store), "--keys", str(keys)]
    asked += ["--gpus", str(a.gpus)] if a.gpus else []
    asked += ["--image", a.image] if a.image else []
    asked += [f"--{clock}-deadline={a.eval_seconds:g}" for clock in ("start", "warmup", "stall", "total")]
    subprocess.run(asked, check=True)


def show(calls: list[Call]) -> None:
    """Print a table of the calls, and what the guests' calls answered."""
    row("call", "client, s", "guest, s", "beside the guest, s", "GPU-seconds", "refused")
    row(*["---"] * 6)
    for call in calls:
        beside = f"{call.client_s - call.wall_s:.2f}" if call.wall_s else "-"
        wall = f"{call.wall_s:.2f}" if call.wall_s else "-"
        row(call.name, f"{call.client_s:.2f}", wall, beside, f"{call.gpu_seconds:.1f}", call.is_error)
    for call in calls:
        told = {k: call.values[k] for k in SHOWN if call.values.get(k) is not None}
        if call.name.startswith(("try", "evaluate")) or call.is_error:
            print(f"{call.name}: {json.dumps(told or call.values)[:2000]}")
        if call.name.startswith("try"):
            print("  " + str(call.values.get("log", "")).replace("\n", "\n  "))


def is_fine(calls: list[Call]) -> bool:
    """Tell whether no call is missing or was refused, no fault was found, and every guest did its work."""
    if not any(call.name.startswith("budget") for call in calls):
        return False
    tried = all(call.values.get("step") for call in calls if call.name.startswith("try"))
    checked = not any(call.values.get("faults") for call in calls)
    evaluated = all(call.values.get("val_loss") for call in calls if call.name.startswith("evaluate"))
    return not any(call.is_error for call in calls) and checked and tried and evaluated


def main() -> int:
    """Run the session."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("store", type=Path)
    p.add_argument("out", type=Path)
    p.add_argument("--task", default="46")
    p.add_argument("--gpus", type=int, default=8, help="GPUs of an evaluation; 0 for a smoke task.")
    p.add_argument("--runtime", default="runc")
    p.add_argument("--image", help="Era, or host for this machine's own files.")
    work = p.add_mutually_exclusive_group()
    work.add_argument("--submission", type=Path, metavar="FOLDER", help="What the client submits.")
    work.add_argument("--reference", type=int, metavar="STEPS", help="Submit the reference trainer.")
    p.add_argument("--steps", type=int, default=20, help="Where the first try ends.")
    p.add_argument("--try-seconds", type=float, default=600.0, help="Bound of each try.")
    p.add_argument("--second-try-seconds", type=float, help="Another bound of the second try.")
    p.add_argument("--eval-seconds", type=float, default=600.0, help="Total deadline of the evaluation.")
    p.add_argument("--lines", type=int, default=5, help="Lines of a try's log to show.")
    p.add_argument("--wall", default="3h", help="The session's budget of wall time.")
    a = p.parse_args()
    a.out.mkdir(parents=True)
    folder, keys = a.out / "session", a.out / "keys"
    files = submitted(a)
    begin(a, folder, keys)
    places = ["--store", str(a.store), "--keys", str(keys)]
    argv = ["-m", "kit.cli", "session", "serve", str(folder), "--stdio", *places]
    calls: list[Call] = []

    async def serve() -> None:
        parameters = StdioServerParameters(command=sys.executable, args=argv, env=dict(os.environ))
        async with Client(parameters) as client:
            await follow(Script(client, calls), a, files)

    try:
        anyio.run(serve)
    except Exception:  # what was measured so far is shown
        traceback.print_exc()
    show(calls)
    show_stages(guests(calls, folder))
    ended = subprocess.run([*KIT, "session", "end", str(folder), *places], check=False).returncode
    verified = subprocess.run([*KIT, "session", "verify", str(folder), "--keys", str(keys)], check=False)
    print(f"session end: exit {ended}; session verify: exit {verified.returncode}")
    return 0 if is_fine(calls) and verified.returncode == 0 else 1


if __name__ == "__main__":
    raise SystemExit(main())
