"""A run that is exported to the real trackio is in its store, with its points and its configuration."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from conftest import REPOSITORY
from own_venv import make_venv
from python_file import load_file

pytestmark = [pytest.mark.network, pytest.mark.ecosystem]
TRACKIO = "trackio==0.43.0"
READ = """
import json, sys, trackio
from importlib.metadata import version
from trackio.sqlite_storage import SQLiteStorage
run, = trackio.Api().runs(sys.argv[1])
points = SQLiteStorage.get_logs(sys.argv[1], run.name)
found = {"version": version("trackio"), "name": run.name, "config": run.config, "points": points}
print(json.dumps(found, default=str))
"""


def test_a_run_is_in_the_store_of_trackio(tmp_path):
    press = load_file("press_for_trackio", REPOSITORY / "tests" / "assets" / "bundles" / "press.py")
    folder = press.press(tmp_path / "runs", press.Sample(1))
    key = tmp_path / "key.pem"
    key.write_bytes(press.MAKE.SIGNER.public.pem)
    python = make_venv(tmp_path / "venv", str(REPOSITORY), TRACKIO) / "bin" / "python"
    env = {
        **os.environ,
        "HOME": str(tmp_path),
        "TRACKIO_DIR": str(tmp_path / "trackio"),
        "HF_HUB_OFFLINE": "1",
    }

    def call(*command: str) -> str:
        done = subprocess.run(
            [python, *command], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    export = ("-m", "kit.cli", "log", "export", str(folder), "--key", str(key))
    rows = [row.split(",") for row in call(*export).splitlines()[1:]]
    assert call(*export, "--to", "trackio", "--project", "mine") == "", "stdout is for machines"
    found = json.loads(call("-c", READ, "mine").splitlines()[-1])
    assert found["version"] == TRACKIO.partition("==")[2]
    assert found["name"] == folder.name
    assert found["config"]["record"] == "3" and found["config"]["verdict"] == "reached"
    got = [(p["step"], p["val_loss"]) for p in found["points"]]
    assert got == [(int(row[1]), float(row[2])) for row in rows] != []
