"""A series of real guests: reserved first, each with its bundle, verified as a whole."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest
from conftest import PATIENT, SPEEDRUN

pytestmark = [pytest.mark.container, pytest.mark.network]

QUICK = """\
import os, time
for step in range(0, 21):
    loss, took = 5.5 - step / 100, f"train_time:{10 * step}ms step_avg:10.00ms"
    if int(os.environ.get("RANK", "0")) == 0:
        if step:
            print(f"step:{step}/20 train_loss:{loss:.4f} {took}", flush=True)
        if step % 10 == 0:
            print(f"step:{step}/20 val_loss:{loss:.4f} {took}", flush=True)
    time.sleep(0.01)
"""
FAILS = "raise SystemExit(3)\n"


def series(tmp_path: Path, script: str, *more: str) -> tuple[int, dict, str]:
    folder = tmp_path / "submission"
    folder.mkdir()
    (folder / "train_gpt2.py").write_text(script)
    places = ["--out", str(tmp_path / "runs"), "--keys", str(tmp_path / "keys"), "--submission", str(folder)]
    command = [*SPEEDRUN, "eval", "--record", "3", "--profile", "smoke", "--json", *PATIENT, *places]
    done = subprocess.run([*command, *more], capture_output=True, text=True, check=False, timeout=1500)
    return done.returncode, json.loads(done.stdout), done.stderr


def test_every_reserved_run_has_its_bundle_in_the_record(cpu_image, tmp_path):
    code, report, told = series(tmp_path, QUICK, "--runs", "2")
    assert code == 1
    assert "2 runs reserved and signed" in told and "with probability" not in told
    assert [r["ended"] for r in report["runs"]] == ["completed", "completed"]
    assert report["loss"]["mean"] == pytest.approx(5.3)
    folders = {p.name for p in (tmp_path / "runs").iterdir()}
    assert folders == {report["series"], *(r["run_id"] for r in report["runs"])}
    again = [*SPEEDRUN, "series", str(tmp_path / "runs" / report["series"]), "--keys", str(tmp_path / "keys")]
    done = subprocess.run([*again, "--json"], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout) == report


def test_a_series_of_failures_ends_by_its_rule_and_says_what_never_started(cpu_image, tmp_path):
    code, report, _ = series(tmp_path, FAILS, "--runs", "3", "--stop-on-failure")
    assert code == 1
    assert [r["ended"] for r in report["runs"]] == ["crashed", "never started", "never started"]
    assert report["loss"] is None
    assert report["ended"].startswith("stop rule: run ")


def test_an_interleaved_candidate_is_held_to_its_start_script_without_a_further_run(cpu_image, tmp_path):
    code, report, told = series(tmp_path, QUICK, "--runs", "1", "--interleave")
    assert code == 1 and "audit: running" not in told
    audits = {}
    for run in report["runs"]:
        bundle = json.loads((tmp_path / "runs" / run["run_id"] / "result.json").read_bytes())
        predicate = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))["predicate"]
        audits[run["arm"]] = {c["id"]: c["outcome"] for c in predicate["audit"]["checks"]}
    assert audits["candidate"]["baseline.warmup"] == "passed"
    assert "baseline.excess" in audits["candidate"] and "baseline.warmup" not in audits["start"]
