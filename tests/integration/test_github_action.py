"""The steps of the GitHub Action, run as a runner does; the file, judged by the schema of actions."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY
from own_venv import make_venv
from python_file import load_file

pytestmark = [pytest.mark.network, pytest.mark.ecosystem]
ACTION = REPOSITORY / "action.yml"
GUIDE = REPOSITORY / "docs" / "guides" / "submit.md"


def steps(runner: Path, inputs: dict[str, str]) -> list[subprocess.CompletedProcess[str]]:
    """Run the steps until one fails; expressions are replaced as the runner replaces them."""
    document = yaml.safe_load(ACTION.read_text())
    values = {f"inputs.{name}": str(said.get("default", "")) for name, said in document["inputs"].items()}
    values |= {f"inputs.{name}": value for name, value in inputs.items()}
    values["github.action_path"] = str(REPOSITORY)
    done = []
    for step in document["runs"]["steps"]:
        env = {k: re.sub(r"\$\{\{ (\S+) \}\}", lambda m: values[m[1]], v) for k, v in step["env"].items()}
        places = {"RUNNER_TEMP": str(runner), "GITHUB_OUTPUT": str(runner / "output"), "HOME": str(runner)}
        done.append(
            subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
                cwd=runner / "workspace", env={**os.environ, **places, **env},
                capture_output=True, text=True, check=False,
            )
        )  # fmt: skip
        if done[-1].returncode:
            break
    return done


@pytest.fixture(scope="module")
def runner(tmp_path_factory) -> Path:
    """A runner's directory: a checkout with a good and a smoke entry, and the base's keys."""
    gallery = load_file("gallery", REPOSITORY / "tests" / "assets" / "bundles" / "gallery.py")
    where = tmp_path_factory.mktemp("runner")
    made = gallery.fill(where, 12)
    made.root.rename(where / "workspace")
    for name in ("logging", "venv", "pip", "kit", "sitecustomize"):  # a pull request may have any file
        (where / "workspace" / f"{name}.py").write_text(f"open({str(where / 'executed')!r}, 'w')\n")
    return where


def test_findings_become_annotations_and_the_step_fails(runner):
    installed, checked = steps(runner, {"keys": str(runner / "keys"), "python": sys.executable})
    assert installed.returncode == 0, installed.stderr
    assert not (runner / "executed").exists(), "a module of the pull request was imported"
    lines = checked.stdout.splitlines()
    assert lines and all(line.startswith("::error file=submissions/") for line in lines), checked.stderr
    assert checked.returncode in (1, 3, 4)
    assert (runner / "output").read_text().endswith(f"exit-code={checked.returncode}\n")


def test_the_base_tells_a_copy_from_its_original(runner):
    root = runner / "workspace" / "submissions"
    before = steps(runner, {"keys": str(runner / "keys"), "python": sys.executable})[-1].stdout
    shutil.copytree(root, runner / "base" / "submissions")
    original = next(e for e in sorted(root.glob("*/*/r*")) if str(e.relative_to(root)) not in before)
    agent = original.parents[1] / "0-first-by-name"
    copy = agent / original.name
    shutil.copytree(original, copy)
    try:
        entry = json.loads((copy / "entry.json").read_text())
        (copy / "entry.json").write_text(json.dumps({**entry, "agent": agent.name}))
        inputs = {"keys": str(runner / "keys"), "python": sys.executable, "base": str(runner / "base")}
        checked = steps(runner, inputs)[-1]
    finally:
        shutil.rmtree(agent)
    (line,) = (line for line in checked.stdout.splitlines() if line not in before.splitlines())
    assert line.startswith(f"::error file=submissions/{copy.relative_to(root)}") and "is also in" in line, (
        line
    )


def test_a_pull_request_commands_the_runner_by_no_error_about_its_files(runner):
    settings = runner / "workspace" / "speedrun.toml"
    settings.write_text("['##[group]a\\n::stop-commands::b']\n")
    try:
        checked = steps(runner, {"keys": str(runner / "keys"), "python": sys.executable})[-1]
    finally:
        settings.unlink()
    assert checked.returncode == 2 and "speedrun.toml" in checked.stderr
    assert "##[" not in checked.stdout + checked.stderr
    assert not re.search(r"^\s*::", checked.stderr, re.MULTILINE)


def test_the_schemas_accept_it_and_the_workflow_of_the_guide(tmp_path):
    program = make_venv(tmp_path / "venv", "check-jsonschema==0.39.0") / "bin" / "check-jsonschema"
    (workflow,) = re.findall(r"```yaml\n(name: Check entries\n.*?)```", GUIDE.read_text(), re.DOTALL)
    (tmp_path / "check.yml").write_text(workflow)
    for schema, file in (("actions", ACTION), ("workflows", tmp_path / "check.yml")):
        command = [program, "--builtin-schema", f"vendor.github-{schema}", file]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
    step = yaml.safe_load(workflow)["jobs"]["check"]["steps"][-1]
    inputs = yaml.safe_load(ACTION.read_text())["inputs"]
    assert set(step["with"]) <= set(inputs)
    assert {name for name, said in inputs.items() if said.get("required")} <= set(step["with"])
