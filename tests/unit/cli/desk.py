"""A working folder in which the examples of the help texts can be run: results, keys, logs, a leaderboard."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fake_session import begin, opened
from pressed_search import press, pressed_run, pressed_spec

from kit import __version__
from kit.core.digest import Sha256
from kit.core.facts import facts_root
from kit.core.store import Artifact
from kit.data.dataset import ShardDigests, StatedBy, load_dataset
from kit.leaderboard.submit.entry import BoardEntry, write_submission
from kit.result.keys import Trusted, load_or_create
from kit.result.predicate import Series
from kit.result.verify import open_bundle
from kit.series.record import Arm, SeriesPlan, Slot, StopRule, close, reserved_series
from kit.sweep.folder import make_sweep
from kit.sweep.grid import read_grid
from kit.values.profile import Profile

ASSETS = Path(__file__).parents[2] / "assets" / "bundles"
GUIDES = Path(__file__).parents[3] / "docs" / "guides"
RUN_ID = "r03-20260101T000000Z-00000000"
SERIES_ID = "s03-20261123T170000Z-1a2b3c4d"
AGENT_RUN = "0123456789abcdef"
SCRIPT = b"# candidate\n"
UPSTREAM = "records/track_1_short/2024-10-18_PyTorch25/d4bfb25f-688d-4da5-8743-33926fad4842.txt"


def work_at(desk: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work at the desk, with settings and caches beside it and without a container engine; return it."""
    monkeypatch.chdir(desk)
    for name, folder in (("HOME", "home"), ("XDG_CONFIG_HOME", "config"), ("XDG_CACHE_HOME", "cache")):
        monkeypatch.setenv(name, str(desk.parent / folder))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    return desk


def lay(root: Path) -> Path:
    """Fill `root` and return the folder to work in."""
    here = root / "desk"
    runs = here / "runs"
    signer = press().MAKE.SIGNER
    press().press(runs, press().Sample(0, script=SCRIPT))
    _series(runs, signer)
    pressed_run(here / "agent-runs" / AGENT_RUN, pressed_spec("flat", max_nodes=4))
    _sweep(here)
    with opened(begin(here, "gpu-hours=1,wall=1h", name="my-session")) as session:
        session.call("try", {"seconds": 5}, "a client")
    shutil.copytree(runs / RUN_ID, here, dirs_exist_ok=True)
    shutil.copyfile(runs / RUN_ID / "signer.pem", here / "their-key.pem")
    (here / "my-agent").mkdir()
    (here / "my-agent" / "train_gpt2.py").write_bytes(SCRIPT)
    for name, script in (
        ("workspace", b"print(1)\n"),
        ("needs-cuda", b"import torch\ntorch.cuda.set_device(0)\n"),
    ):
        (here / name).mkdir()
        (here / name / "train_gpt2.py").write_bytes(script)
    for name in (".git", "__pycache__"):
        (here / "workspace" / name).mkdir()
    log = b"=" * 100 + b"\nimport os\n" + b"=" * 100 + b"\nRunning Python 3.12.7\n" + b"=" * 100 + b"\n"
    log += b"step:0/20 val_loss:10.8258 train_time:0ms step_avg:nanms\n"
    for name in ("logs/0b1c.txt", "log.txt", UPSTREAM):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(log)
    (here / "runs.csv").write_text("task,config,run,fsr\n3,a,1,0.5\n3,a,2,0.6\n4,a,1,0.1\n")
    (here / "keys").mkdir(mode=0o700)
    for keys in (here / "keys", root / "config" / "speedrun-kit" / "keys"):
        load_or_create(keys)
        (keys / "them.pem").write_bytes(signer.public.pem)
    found = open_bundle(runs / RUN_ID, Trusted((signer.public,)))
    for name, agent in (("leaderboard", "another-agent"), ("leaderboard-main", "my-agent")):
        (root / name / "submissions").mkdir(parents=True)
        write_submission(found, BoardEntry(agent, None, (), None, None, None), root / name)
    for name in ("modded-nanogpt/.git", "wheels"):
        (root / name).mkdir(parents=True)
    for name in ("result", "judgements"):
        (here / name).mkdir()
    for name in ("answers.toml", "embedder.toml", "model.safetensors"):  # no example reads them
        (here / name).touch()
    shutil.copyfile(ASSETS.parent / "golden" / "tiny.tar", here / "result.capsule.tar")
    (here / "fineweb10B.lock.json").write_bytes(_data_lock())
    return here


def _data_lock() -> bytes:
    """Return a data lock of other shards than those of the press."""
    dataset = load_dataset(facts_root() / "records")
    files = (Artifact(dataset.val_name, dataset.size, Sha256("0" * 64)),)
    return ShardDigests(dataset.repo, None, StatedBy.FOLDER, dataset.sha256, files).to_json()


def _sweep(here: Path) -> None:
    shutil.copyfile(GUIDES / "example_sweep.toml", here / "sweep.toml")
    sweep = make_sweep(here / "sweeps" / "NAME", read_grid(here / "sweep.toml", __version__), "2026-01-01")
    cell = sweep.folder(sweep.plan.cells[0])
    shutil.copytree(here / "agent-runs" / AGENT_RUN, cell.runs / AGENT_RUN)


def _series(runs: Path, signer: object) -> None:
    make = press()
    slots = tuple(
        Slot(f"r03-20260101T000000Z-{n:08x}", f"{n:032x}", Arm.CANDIDATE, make.tree_of(SCRIPT))
        for n in (1, 2, 3)
    )
    plan = SeriesPlan(SERIES_ID, "2026-01-01T00:00:00.000+00:00", 3, Profile.FULL, StopRule.ALL_RUNS, slots)
    with reserved_series(runs, plan, signer) as (where, digest):
        extra = (("series", Series(plan.id, digest)),)
        for n in (1, 2, 3):
            make.press(runs, make.Sample(n, script=SCRIPT, extra=extra, final_loss=3.27 + n / 1000))
        close(where, plan, signer, "all runs finished")
