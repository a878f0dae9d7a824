"""The smoke tasks in the real Inspect, with its mock model: an edit is evaluated, other answers are not."""

from __future__ import annotations

import json
import subprocess

import pytest
from conftest import REPOSITORY
from own_venv import make_venv
from python_file import load_file

pytestmark = [pytest.mark.container, pytest.mark.network, pytest.mark.ecosystem]
INSPECT = "inspect_ai==0.3.285"
ASK = """
import json, sys
import inspect_ai
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from kit.agent.inspect_task import speedrun_smoke
answers = [ModelOutput.from_content("mockllm/model", text) for text in json.loads(sys.argv[1])]
for answer in answers:
    answer.usage = ModelUsage()  # else Inspect fetches a tokenizer to count the words of its mock model
(log,) = inspect_ai.eval(
    speedrun_smoke(names="smoke-3,smoke-1", runtime="runc", runs="runs"),
    model=get_model("mockllm/model", custom_outputs=answers),
    log_dir="logs", display="none", max_samples=1,
)
scores = {s.id: s.scores["speedrun_scorer"].model_dump() for s in log.samples}
print(json.dumps({"version": inspect_ai.__version__, "status": log.status, "scores": scores}))
"""


def test_an_edit_is_evaluated_and_an_answer_without_one_scores_0(cpu_image, tmp_path):
    example = load_file("example_agent", REPOSITORY / "docs/guides/example_agent.py")
    venv = make_venv(tmp_path / "venv", f"{REPOSITORY}[score]", INSPECT, constrained=False)
    python = venv / "bin" / "python"
    answers = json.dumps([example.EDIT.format("q @ k.mT"), "I would rather not."])
    command = [python, "-c", ASK, answers]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["version"], found["status"]) == (INSPECT.partition("==")[2], "success")
    edited, refused = found["scores"]["smoke-3"], found["scores"]["smoke-1"]
    assert refused["value"] == 0 and "no edit" in refused["explanation"]
    assert edited["metadata"]["bundle_sha256"], edited
    assert edited["value"] in (0, 1) and (edited["value"] == 1) == edited["explanation"].startswith("valid")
    (summary,) = (tmp_path / "runs").glob("inspect-*/summary.json")
    check = [venv / "bin" / "speedrun", "agent", "verify", str(summary.parent), "--json"]
    done = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    verified = json.loads(done.stdout)
    assert (verified["faults"], verified["unnamed"], verified["nodes"]) == ([], [], 1)
    assert verified["ended"] and verified["summary"] and verified["trusted"]
