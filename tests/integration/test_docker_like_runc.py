"""The same submission in runc and in Docker: two bundles that differ only where they must."""

from __future__ import annotations

import fnmatch
import json
import os
import subprocess
from typing import Any

import pytest
from conftest import PATIENT, REPOSITORY, SPEEDRUN, Evaluated

pytestmark = [pytest.mark.container, pytest.mark.network]

MUST = {
    "run.id",
    "run.nonce",
    "run.started_at",
    "environment.runtime.name",
    "environment.runtime.config_sha256",
}
MAY = (
    "environment.runtime.version",
    "environment.isolation.checks.*.detail",  # what each engine shows a guest of devices, mounts and groups
    "observations.*",  # the host's clock and counters
    "claims.train_time_ms",
    "claims.val_points.*.train_time_ms",
    "audit.checks.*.detail",
    "audit.checks.*.figures.*",
)
"""Everything else is the same, to the last bit of every loss."""


def flat(value: Any, at: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list):
        parts = enumerate(value)
    else:
        return {at: value}
    return {k: v for name, part in parts for k, v in flat(part, f"{at}.{name}".lstrip(".")).items()}


@pytest.fixture(scope="module")
def predicates(dockerd, tmp_path_factory) -> dict[str, dict[str, Any]]:
    base = tmp_path_factory.mktemp("alike")
    submission = base / "submission"
    submission.mkdir()
    script = (REPOSITORY / "kit" / "guest" / "train_reference.py").read_text()
    (submission / "train_gpt2.py").write_text(script)
    (submission / "run.toml").write_text(
        'args = ["--steps", "6", "--val-every", "3", "--batch-tokens", "1024", "--seq-len", "64", '
        '"--layers", "1", "--heads", "2", "--width", "64", "--vocab-size", "256"]\n'
    )
    found = {}
    for runtime in ("runc", "docker"):
        command = [
            *SPEEDRUN, "eval", "--record", "3", "--profile", "smoke", "--json", "--runtime", runtime,
            "--submission", str(submission), "--out", str(base / "runs"), "--keys", str(base / "keys"),
            *PATIENT,
        ]  # fmt: skip
        env = {**os.environ, "DOCKER_HOST": dockerd.url}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=1500)
        assert done.stdout, done.stderr
        run = Evaluated(done.returncode, json.loads(done.stdout), done.stderr)
        assert run.report["status"] == "completed", done.stderr
        found[runtime] = flat(run.predicate)
    return found


def test_the_bundles_have_the_same_keys(predicates):
    phases = "observations.phases"
    runc, docker = ({k for k in p if not k.startswith(phases)} for p in predicates.values())
    assert runc ^ docker == set()


def test_only_what_must_differ_differs(predicates):
    runc, docker = predicates["runc"], predicates["docker"]
    differing = {key for key in runc if runc[key] != docker.get(key)}
    assert differing >= MUST
    stray = {k for k in differing - MUST if not any(fnmatch.fnmatch(k, pattern) for pattern in MAY)}
    assert {k: (runc[k], docker.get(k)) for k in sorted(stray)} == {}


def test_both_are_contained_and_every_limit_is_enforced(predicates):
    for predicate in predicates.values():
        assert predicate["environment.isolation.level"] == "contained"
        assert not [k for k in predicate if k.startswith("environment.runtime.not_enforced")]


def test_the_same_tokens_give_the_same_losses(predicates):
    losses = [[v for k, v in sorted(p.items()) if k.endswith(".val_loss")] for p in predicates.values()]
    assert len(losses[0]) == 3 and losses[0] == losses[1]
