"""The main job: train in the pinned image, reach the target, sign, verify, refuse what was changed."""

from __future__ import annotations

import json
import shutil

import pytest
from conftest import left_of, verify

pytestmark = [pytest.mark.container, pytest.mark.network]


@pytest.fixture(scope="module")
def reached(contained, tmp_path_factory):
    """One honest smoke run in each runtime, which all tests of this file look at."""
    import subprocess

    from conftest import PATIENT, SPEEDRUN, Evaluated

    base = tmp_path_factory.mktemp("smoke")
    places = ["--out", str(base / "runs"), "--keys", str(base / "keys")]
    command = [*SPEEDRUN, "eval", "--record", "3", "--profile", "smoke", "--json", *PATIENT, *places]
    command += ["--runtime", contained.name]
    done = subprocess.run(
        command, env=contained.env, capture_output=True, text=True, check=False, timeout=1500
    )
    return Evaluated(done.returncode, json.loads(done.stdout), done.stderr), base / "keys"


def test_the_reference_trainer_reaches_the_target(reached):
    run, _ = reached
    assert run.code == 0, run.stderr
    assert (run.report["status"], run.report["verdict"]) == ("completed", "reached")
    floor = run.predicate["audit"]["checks"][0]["figures"]["floor"]
    assert floor < run.report["claims"]["final_val_loss"] < floor + 0.15


def test_the_report_has_the_documented_keys(reached):
    run, _ = reached
    promised = {"run_id", "status", "verdict", "bundle", "claims", "observations", "audit", "score"}
    assert promised <= set(run.report)
    assert set(run.report["claims"]) == {"steps", "final_val_loss", "train_time_ms"}
    assert {"wall_s", "train_wall_s", "phases"} <= set(run.report["observations"])


def test_a_smoke_result_says_unranked_everywhere(reached):
    run, keys = reached
    assert run.report["score"]["ranked"] is False
    assert "not ranked: smoke profile" in run.stderr
    assert "unranked" in verify(run.folder, keys).stdout
    assert run.predicate["score"]["ranked"] is False


def test_the_hosts_clock_and_the_guests_agree(reached):
    run, _ = reached
    seen = run.report["observations"]
    assert sum(seen["phases"].values()) == pytest.approx(seen["wall_s"], abs=0.05)
    assert 0 < run.report["claims"]["train_time_ms"] / 1000 <= seen["wall_s"]


def test_every_isolation_check_passed(reached):
    run, _ = reached
    isolation = run.predicate["environment"]["isolation"]
    assert isolation["level"] == "contained"
    assert len(isolation["checks"]) >= 12 and all(c["passed"] for c in isolation["checks"])


def test_the_bundle_names_the_image_that_is_committed(reached):
    from conftest import REPOSITORY

    run, _ = reached
    committed = (REPOSITORY / "images" / "cpu" / "digest").read_text()
    image = run.predicate["environment"]["image"]
    assert image["config_digest"] in committed and image["manifest_digest"] in committed


def test_nothing_is_left_of_the_guest(reached):
    run, _ = reached
    assert left_of(run.report["run_id"]) == []
    assert sorted(p.name for p in run.folder.iterdir()) == [
        "guest.log", "result.json", "signer.pem", "stamps", "submission",
    ]  # fmt: skip


def test_the_bundle_verifies(reached):
    run, keys = reached
    done = verify(run.folder, keys)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "step"), [("submission/train_gpt2.py", 6), ("guest.log", 6), ("stamps", 6), ("result.json", 0)]
)
def test_a_changed_file_is_refused_by_its_step(reached, tmp_path, name, step):
    run, keys = reached
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    changed = copy / name
    changed.chmod(0o644)
    changed.write_bytes(changed.read_bytes() + b"\n")
    done = verify(copy, keys)
    assert done.returncode == 4
    assert f"step {step}:" in done.stderr + done.stdout
