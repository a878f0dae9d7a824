"""
The hostile suite: read the attacks, run each for real through the command line, and return its outcome.

An attack is one file of `attacks/`: `#:` lines of TOML, then code. With `base = "reference"` the code is
inserted into the reference trainer before its start; with `"none"` it is the whole script. `NAME.d/` contains
further files.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from kit.core.digest import files_under, sha256_file, tree_digest
from kit.core.errors import KitError
from kit.result.appraisal.trust import assess_tier
from kit.result.keys import trusted
from kit.result.verify import open_bundle
from kit.sandbox import processes
from kit.sandbox.cgroup import Cgroup
from kit.sandbox.engine import Engine

HERE = Path(__file__).resolve().parent
ATTACKS = HERE / "attacks"
REPOSITORY = HERE.parents[1]
REFERENCE = REPOSITORY / "kit" / "guest" / "train_reference.py"
SHORT = ("--steps", "100", "--val-every", "25")
"""Fewer than the smoke profile's 160 steps; attacks and the honest script need no more."""
START = 'if __name__ == "__main__":'
SEED = "hostile-suite"
"""Seed of the canary streams: the same in every run of the suite, so that samples are drawn once."""
LIMIT_S = 900
MEASURED = (
    "baseline.excess", "baseline.speed", "baseline.validation", "baseline.warmup", "canary.to_end.model",
    "canary.versus_baseline", "held_out", "trace.clock", "trace.pace",
)  # fmt: skip
"""Checks whose figures are stored."""
RERUN = ("canary", "held_out", "baseline.warmup")
"""Prefixes of checks that may not be skipped if an attack requests their reruns."""
NOISE_IN = "runc"
"""The runtime in which `--audit canary` runs all three streams."""
LABEL = "speedrun-kit.run"


class AttackOutcome(StrEnum):
    """The outcome of an attack."""

    HONEST = "honest"
    """Not an attack; no check may fail."""
    CONTAINED = "contained"
    """It gained nothing: no access to the host, nothing left behind, no score."""
    CAUGHT = "caught"
    """A fatal check failed; the result is refused."""
    FLAGGED = "flagged"
    """The result is valid and carries a warning."""
    NOT_CAUGHT = "not caught"
    """The result is valid without a warning."""
    ESCAPED = "ESCAPED"
    """The guest did something that is forbidden. Never expected."""


@dataclass(frozen=True)
class Attack:
    """One attack and its expected outcome."""

    name: str
    title: str
    kind: str
    """`score` for false scores, `containment` for attacks on the machine, the log or its reader."""
    patterns: list[int]
    """Numbers of the known cheat patterns that it demonstrates."""
    expect: str
    by: list[str]
    """Checks that must fail."""
    note: str
    base: str = "reference"
    audit: str = ""
    adaptive: bool = False
    """Whether it was written or tuned against this kit."""
    fast: bool = False
    """Whether the integration tests run it too: one attack of each kind."""
    network: bool = False
    beside: bool = False
    """Whether another attack may run at the same time although timing is compared: no bound is near."""
    repeat: int = 1
    status: str = ""
    args: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Recorded:
    """The outcome of one attack in one runtime, as stored for the threat model."""

    name: str
    sha256: str
    """Digest of the attack's files; a changed attack must run again."""
    came: str
    status: str
    verdict: str
    tier: str
    failed: list[str]
    """Ids of the checks that failed, fatal ones and warnings."""
    skipped: list[str]
    """Skipped checks of reruns, with the reason."""
    loss: float | None
    """The last loss that it claimed."""
    claimed_s: float | None
    """The time that it claimed."""
    canary: dict[str, float]
    """Stream kind -> lowest claimed loss."""
    floors: dict[str, float]
    figures: dict[str, float]
    """Figures of the comparisons with the start script, by name."""
    wall_s: float
    kill_s: float
    left: list[str]
    last: dict[str, float] = field(default_factory=dict)
    """Stream kind -> last claimed loss."""


def load() -> list[Attack]:
    """Read every attack, sorted by name."""
    return [_attack(path) for path in sorted(ATTACKS.glob("*.py"))]


def _attack(path: Path) -> Attack:
    lines = path.read_text().splitlines()
    header = "\n".join(line[3:] for line in lines if line.startswith("#:"))
    return Attack(name=path.stem, **tomllib.loads(header))


def digest(name: str) -> str:
    """Return the digest of an attack's files."""
    files = {"": sha256_file(ATTACKS / f"{name}.py")}
    more = ATTACKS / f"{name}.d"
    if more.is_dir():
        files |= files_under(more)
    return tree_digest(files)


def submission(attack: Attack, folder: Path, smoke_args: list[str]) -> None:
    """Write the attack as a submission."""
    folder.mkdir(parents=True)
    lines = (ATTACKS / f"{attack.name}.py").read_text().splitlines(keepends=True)
    code = "".join(line for line in lines if not line.startswith("#:"))
    if attack.base == "reference":
        head, mark, tail = REFERENCE.read_text().partition(START)
        code = f"{head}{code}\n\n{mark}{tail}"
        args = [*smoke_args, *SHORT, *attack.args]
        (folder / "run.toml").write_text(f"args = {json.dumps(args)}\n")
    (folder / "train_gpt2.py").write_text(code)
    more = ATTACKS / f"{attack.name}.d"
    if more.is_dir():
        shutil.copytree(more, folder, dirs_exist_ok=True)


def run(attack: Attack, places: Path, runtime: str, env: Mapping[str, str] | None = None) -> Recorded:
    """Run an attack `attack.repeat` times and return the last outcome; `env` configures the engine."""
    if attack.network and runtime == "host":
        raise ValueError(f"{attack.name} must run in a separate network namespace")
    smoke = tomllib.loads((REPOSITORY / "records" / "smoke.toml").read_text())
    for count in range(attack.repeat):
        folder = places / f"{attack.name}-{count}"
        submission(attack, folder / "submission", smoke["guest"]["args"])
        found = _once(attack, folder, runtime, {**os.environ, **(env or {})})
        shutil.rmtree(folder)
    return found


def asked(attack: Attack, runtime: str) -> str:
    """Return an attack's audits. Noise streams run in one runtime only, because their claims are equal."""
    names = attack.audit.split(",")
    return ",".join("canary.model" if n == "canary" and runtime != NOISE_IN else n for n in names)


def _once(attack: Attack, folder: Path, runtime: str, env: Mapping[str, str]) -> Recorded:
    began = time.monotonic()
    keys = folder / "keys"
    command = [
        *(sys.executable, "-m", "kit.cli", "eval", "--record", "3", "--profile", "smoke", "--json"),
        *("--submission", str(folder / "submission"), "--out", str(folder / "runs"), "--keys", str(keys)),
        *("--runtime", runtime, *attack.flags),
        *(("--audit", asked(attack, runtime), "--audit-seed", SEED) if attack.audit else ()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S, env=env)
    if not done.stdout.strip():
        raise RuntimeError(f"{attack.name}: eval exited with {done.returncode}: {done.stderr[-2000:]}")
    wall_s = time.monotonic() - began
    report = json.loads(done.stdout)
    bundle = Path(report["bundle"])
    left = left_of(report["run_id"], env.get("DOCKER_HOST") if runtime == "docker" else None)
    tier = _tier(bundle, keys)
    escaped = bool(left) or not tier or b"ESCAPED" in (bundle.parent / "guest.log").read_bytes()
    return Recorded(
        name=attack.name,
        sha256=digest(attack.name),
        came=_came(attack, report, escaped),
        status=report["status"],
        verdict=report["verdict"],
        tier=tier or "unverifiable",
        loss=report["claims"]["final_val_loss"],
        wall_s=round(wall_s, 1),
        left=left,
        **_seen(bundle),
    )


def _tier(bundle: Path, keys: Path) -> str:
    """Return the tier that a reader who trusts the key derives from the bundle; empty if it is refused."""
    try:
        found = open_bundle(bundle, trusted(keys))
    except KitError:
        return ""
    return assess_tier(found.predicate, found.trusted).tier.value


def _came(attack: Attack, report: dict[str, Any], escaped: bool) -> str:
    checks = report["audit"].values()
    failed = [c for c in checks if c["outcome"] == "failed"]
    if escaped:
        return AttackOutcome.ESCAPED
    if attack.kind == "containment" and report["verdict"] != "reached":
        return AttackOutcome.CONTAINED
    if any(c["severity"] == "fatal" for c in failed):
        return AttackOutcome.CAUGHT
    if failed:
        return AttackOutcome.FLAGGED
    return AttackOutcome.HONEST if attack.expect == AttackOutcome.HONEST else AttackOutcome.NOT_CAUGHT


def _seen(bundle: Path) -> dict[str, Any]:
    payload = json.loads(bundle.read_bytes())["dsseEnvelope"]["payload"]
    predicate = json.loads(base64.b64decode(payload))["predicate"]
    checks = {c["id"]: c for c in predicate["audit"]["checks"]}
    streams = {
        name.rpartition(".")[2]: c["figures"]
        for name, c in checks.items()
        if name.startswith(("canary.screen", "canary.to_end")) and "lowest_loss" in c["figures"]
    }
    figures: dict[str, float] = {}
    for name in MEASURED:
        if name in checks:
            figures |= {f"{name}.{key}": round(v, 3) for key, v in checks[name]["figures"].items()}
    claimed = predicate["claims"]["train_time_ms"]
    return {
        "skipped": [
            f"{name}: {c['detail']}"
            for name, c in checks.items()
            if c["outcome"] == "skipped" and name.startswith(RERUN)
        ],
        "claimed_s": None if claimed is None else claimed / 1e3,
        "failed": sorted(name for name, c in checks.items() if c["outcome"] == "failed"),
        "canary": {name: round(f["lowest_loss"], 4) for name, f in sorted(streams.items())},
        "floors": {name: round(f["floor"], 4) for name, f in sorted(streams.items())},
        "last": {name: round(f["last_loss"], 4) for name, f in sorted(streams.items())},
        "figures": figures,
        "kill_s": round(predicate["observations"]["teardown"]["kill_s"], 2),
    }


def left_of(run_id: str, engine: str | None = None) -> list[str]:
    """Return what is left of a run's guest on this machine; `engine` is the URL of a Docker engine."""
    left = [processes.describe(pid) for pid in processes.marked(run_id)]
    left += [processes.describe(pid) for pid in Cgroup(f"/speedrun-kit/{run_id}").members()]
    left += [str(p) for p in Path("/run/speedrun-kit").glob(f"*/{run_id}")]
    if engine:
        with contextlib.closing(Engine(engine)) as asked:
            left += [f"container {c.id}" for c in asked.labelled(LABEL, run_id)]
    return left


def objections(attack: Attack, found: Recorded, runtime: str = NOISE_IN) -> list[str]:
    """Return the differences between an attack's outcome and the expected one."""
    wrong = []
    if found.came != attack.expect:
        wrong.append(f"{found.came}, expected {attack.expect}")
    noise = attack.audit == "canary" and runtime != NOISE_IN
    must = {c for c in attack.by if not (noise and c.startswith("canary.screen"))}
    if missing := sorted(must - set(found.failed)):
        wrong.append(f"not failed: {', '.join(missing)}")
    if attack.status and found.status != attack.status:
        wrong.append(f"{found.status}, expected {attack.status}")
    if attack.expect == AttackOutcome.HONEST and found.failed:
        wrong.append(f"honest, but failed: {', '.join(found.failed)}")
    if attack.audit:
        wrong += [f"skipped: {why}" for why in found.skipped]
    if found.left:
        wrong.append(f"left behind: {', '.join(found.left)}")
    return wrong


def to_json(found: Recorded) -> dict[str, Any]:
    """Return an outcome as plain values."""
    return asdict(found)
