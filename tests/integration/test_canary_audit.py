"""The audits that take further runs, for real: a constant is refused, an honest script passes."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import SPEEDRUN, left_of, verify

pytestmark = [pytest.mark.container, pytest.mark.network]

PACED_CONSTANT = """
import os, time
if os.environ["RANK"] == "0":
    print("starting", flush=True)
    for step in range(161):
        if step <= 10:
            began = time.perf_counter()
        ms = 1000 * (time.perf_counter() - began)
        took = f"train_time:{ms:.0f}ms step_avg:{ms / max(1, step - 10):.2f}ms"
        if step:
            print(f"step:{step}/160 {took}", flush=True)
        if step % 40 == 0:
            loss = 3.45 + 2.1 * 2.0 ** (-step / 30)
            print(f"step:{step}/160 val_loss:{loss:.4f} {took}", flush=True)
        time.sleep(0.02)
"""
"""Its losses are false, its times are true, however long its pauses take."""


def checks(run):
    return {c["id"]: c for c in run.predicate["audit"]["checks"]}


def test_a_false_curve_that_passes_every_check_of_its_own_run_is_refused_by_a_canary(
    cpu_image, evaluate, tmp_path
):
    alone = evaluate(PACED_CONSTANT)
    assert alone.report["verdict"] == "reached", alone.report
    assert [
        n for n, c in checks(alone).items() if c["outcome"] == "failed" and c["severity"] == "fatal"
    ] == []
    audited = evaluate(PACED_CONSTANT, "--audit", "canary.uniform", "--audit-seed", "a1")
    assert (audited.report["verdict"], audited.code) == ("refused", 1)
    found = checks(audited)["canary.screen.uniform"]
    assert found["outcome"] == "failed" and "seed a1" in found["detail"]
    assert found["figures"]["floor"] == pytest.approx(5.545, abs=0.001)
    assert left_of(audited.report["run_id"]) == []
    assert "tier self-reported" in verify(audited.folder, tmp_path / "keys").stdout


def test_an_honest_script_passes_a_screen_that_is_ended_early(cpu_image, evaluate, tmp_path):
    run = evaluate(None, "--audit", "screen")
    assert (run.report["status"], run.report["verdict"], run.code) == ("completed", "reached", 0)
    found = checks(run)["canary.screen.uniform"]
    assert found["outcome"] == "passed" and found["figures"]["first_loss"] == pytest.approx(5.545, abs=0.01)
    lines = (run.folder / "audit" / "canary-uniform.log").read_text().count("val_loss")
    assert 3 <= lines < 5, "the rerun was ended after its third validation line"
    assert "tier screened" in verify(run.folder, tmp_path / "keys").stdout


def test_the_host_runtime_makes_no_audits(tmp_path):
    places = ["--out", str(tmp_path / "runs"), "--keys", str(tmp_path / "keys"), "--profile", "smoke"]
    command = [*SPEEDRUN, "eval", "--record", "3", "--runtime", "host", "--python", sys.executable, *places]
    done = subprocess.run([*command, "--audit", "canary"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "isolates" in done.stderr
    assert not (tmp_path / "runs").exists()
