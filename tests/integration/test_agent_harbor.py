"""A run's trajectory is valid for Harbor, by Harbor's own models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fake_search import FakeTransport
from pressed_search import pressed_run

from kit.agent.atif import trajectory_of
from kit.agent.llm.wire import TokenUsage
from kit.agent.recorded import read_run

pytestmark = pytest.mark.network

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
OFFLINE = (
    "Failed to establish",
    "Temporary failure",
    "NewConnectionError",
    "timed out",
)
CHECK = """
import json, sys, types

site = sys.argv[1]
sys.path.insert(0, site)
# The package's own __init__ wants Python 3.12 and other packages; its models want neither.
for name in ("harbor", "harbor.models"):
    package = types.ModuleType(name)
    package.__path__ = [f"{site}/{name.replace('.', '/')}"]
    sys.modules[name] = package

from harbor.models.trajectories.trajectory import Trajectory

found = Trajectory.model_validate(json.load(sys.stdin))
print(json.dumps(found.to_json_dict(exclude_none=False)))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A directory with Harbor and pydantic."""
    where = tmp_path_factory.mktemp("harbor")
    for options in (("--no-deps", "--ignore-requires-python", "harbor==0.26.0"), ("pydantic>=2.11,<3",)):
        done = subprocess.run(
            (*PIP, "install", "--quiet", "--target", str(where), *options), capture_output=True, text=True
        )
        if done.returncode and any(sign in done.stderr for sign in OFFLINE):
            pytest.skip(f"the package registry cannot be reached: {done.stderr.strip()[-300:]}")
        assert done.returncode == 0, done.stderr
    return where


def validated(site: Path, document: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-I", "-c", CHECK, str(site)),
        input=json.dumps(document),
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("usage", [TokenUsage(100, 50, 40, None, 20), TokenUsage()])
def test_harbor_accepts_a_run(site, tmp_path, usage):
    pressed_run(tmp_path, transport=FakeTransport(usage=usage))
    run = read_run(tmp_path)
    document = trajectory_of(run)
    done = validated(site, document)
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    assert len(read["subagent_trajectories"]) == len(run.tree.nodes)
    assert read["final_metrics"]["total_prompt_tokens"] == run.account().tokens.prompt_tokens
    assert read["final_metrics"]["total_cost_usd"] == run.account().cost_usd


def test_harbor_refuses_a_wrong_document(site, tmp_path):
    pressed_run(tmp_path)
    document = trajectory_of(read_run(tmp_path))
    document["steps"][1]["step_id"] = 7
    assert "step_id" in validated(site, document).stderr
