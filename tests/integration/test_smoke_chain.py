"""
The four smoke scripts, run for real: each learns faster or steps faster than the one before.

The runs of a few steps need an interpreter with torch: this one, or the one that KIT_TORCH_PYTHON names.
The evaluations need the `cpu` image. Nothing here depends on how fast the machine is.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from free_ports import free_ports
from test_reference_trainer import VAL, torch_python

from kit.benchmark.records import Record, fetch_script, load, nowhere
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.data.synth import ensure_smoke, load_smoke

RECORDS = facts_root() / "records"
STEPS = 48


@pytest.fixture(scope="module")
def losses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Loss of each script after the same few steps, on 8,192 validation tokens."""
    python = torch_python()
    if python is None:
        pytest.skip("no torch here: name an interpreter that has it in KIT_TORCH_PYTHON")
    store = Store(tmp_path_factory.mktemp("store"))
    data = ensure_smoke(load_smoke(RECORDS), store).folder
    names = [f"smoke-{n}" for n in range(1, 5)]
    return {name: last_loss(load(RECORDS, name), python, store, data) for name in names}


def last_loss(record: Record, python: str, store: Store, data: Path) -> float:
    argv = [python, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_addr", "127.0.0.1"]
    argv += [
        "--master_port",
        str(*free_ports(1)),
        str(fetch_script(record, store, nowhere) / record.script.entry),
    ]
    env = {
        "PATH": os.environ["PATH"],
        "OMP_NUM_THREADS": "1",
        "NANOGPT_TRAIN_FILES": str(data / "fineweb_train_*.bin"),
        "NANOGPT_VAL_FILES": str(data / "fineweb_val_*.bin"),
        "NANOGPT_VAL_TOKENS": "8192",
    }
    done = subprocess.run(
        [*argv, "--steps", str(STEPS), "--val-every", str(STEPS)],
        env=env, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    points = [m for m in map(VAL.fullmatch, done.stdout.splitlines()) if m]
    assert [m[3] for m in points[:1]] == ["5.5452"]
    return float(points[-1][3])


def test_each_script_has_learned_more_after_the_same_steps(losses):
    assert losses["smoke-1"] > losses["smoke-2"] > losses["smoke-3"]


def test_the_fused_attention_computes_the_same(losses):
    assert losses["smoke-4"] == pytest.approx(losses["smoke-3"], abs=0.005)


@pytest.mark.container
@pytest.mark.network
@pytest.mark.parametrize("name", ["smoke-1", "smoke-2"])
def test_a_script_reaches_the_target_in_its_record_steps(name, cpu_image, tmp_path):
    import json

    from conftest import SPEEDRUN, verify

    places = ["--out", str(tmp_path / "runs"), "--keys", str(tmp_path / "keys")]
    command = [*SPEEDRUN, "eval", "--record", name, "--profile", "smoke", "--runtime", "runc", "--json"]
    command += ["--start-deadline", "900", "--total-deadline", "1400"]  # a busy machine takes longer
    done = subprocess.run([*command, *places], capture_output=True, text=True, check=False, timeout=1500)
    assert done.returncode == 0, done.stderr
    report, record = json.loads(done.stdout), load(RECORDS, name)
    assert (report["status"], report["verdict"]) == ("completed", "reached")
    assert report["claims"]["steps"] == record.steps
    assert report["claims"]["final_val_loss"] <= record.target_val_loss
    assert report["score"]["ranked"] is False
    failed = [name for name, check in report["audit"].items() if check["outcome"] == "failed"]
    assert failed == []
    assert verify(Path(report["bundle"]).parent, tmp_path / "keys").returncode == 0
