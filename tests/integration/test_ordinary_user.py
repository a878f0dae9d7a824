"""An ordinary user's kit: rootless, with a store of its own, contained all the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from conftest import REPOSITORY
from test_hostile_guests import SEEKER

from kit.cli.options import default_store

pytestmark = [pytest.mark.container, pytest.mark.network]

UID = 31337
PYTHON = Path("/usr/bin/python3")
NEEDED = (
    "attrs", "cffi", "click", "cryptography", "installer", "isal", "jsonschema", "jsonschema-specifications",
    "pycparser", "referencing", "rfc8785", "rpds-py", "typing_extensions",
)  # fmt: skip


def copy_distribution(name: str, target: Path) -> None:
    found = distribution(name)
    for file in found.files or ():
        source = Path(str(found.locate_file(file)))
        if ".." in file.parts or not source.is_file():
            continue
        place = target / Path(str(file))
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)


@pytest.fixture(scope="module")
def user(cpu_image):
    """A folder of another user that holds the kit, its packages and the locked artifacts."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    modern = "import sys; sys.exit(sys.version_info < (3, 11))"
    if not PYTHON.exists() or subprocess.run([PYTHON, "-c", modern], check=False).returncode:
        pytest.skip(f"{PYTHON} is not Python 3.11 or newer")
    base = Path(tempfile.mkdtemp(prefix="speedrun-user-"))
    try:
        for room in ("kit", "images", "records", "hints"):
            shutil.copytree(
                REPOSITORY / room, base / "lib" / room, ignore=shutil.ignore_patterns("__pycache__")
            )
        for name in NEEDED:
            copy_distribution(name, base / "lib")
        lock = json.loads((REPOSITORY / "images" / "cpu" / "lock.json").read_text())
        (base / "mirror").mkdir()
        for entry in (*lock["debs"], *lock["wheels"]):
            shutil.copyfile(
                default_store() / "blobs" / "sha256" / entry["sha256"], base / "mirror" / entry["sha256"]
            )
        subprocess.run(["chown", "-R", f"{UID}:{UID}", base], check=True)
        yield base
    finally:
        shutil.rmtree(base)


def run(base: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {"HOME": str(base), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(base / "lib"), "LANG": "de_AT.UTF-8"}
    command = [str(PYTHON), "-m", "kit.cli", *arguments]
    return subprocess.run(
        command, user=UID, group=UID, extra_groups=[], env=env, cwd=base, umask=0o077,
        capture_output=True, text=True, check=False, timeout=400,
    )  # fmt: skip


def smoke(base: Path, *more: str) -> tuple[int, dict, str]:
    done = run(
        base, "eval", "--record", "3", "--profile", "smoke", "--json", "--mirror", str(base / "mirror"), *more
    )
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else {}, done.stderr


def test_an_ordinary_user_builds_the_same_image_trains_and_is_told_what_is_not_enforced(user):
    code, report, stderr = smoke(user)
    assert code == 0, stderr
    shown = run(user, "bundle", "show", report["bundle"], "--json")
    assert shown.returncode == 0, shown.stderr
    environment = json.loads(shown.stdout)["predicate"]["environment"]
    assert environment["image"]["manifest_digest"] in (REPOSITORY / "images" / "cpu" / "digest").read_text()
    assert environment["isolation"]["level"] == "contained"
    assert all(check["passed"] for check in environment["isolation"]["checks"])
    assert "memory" in environment["runtime"]["not_enforced"]
    assert "not enforced" in stderr


def test_the_guest_of_an_ordinary_user_finds_nothing_either(user):
    folder = user / "seeker"
    folder.mkdir(exist_ok=True)
    (folder / "train_gpt2.py").write_text(SEEKER)
    subprocess.run(["chown", "-R", f"{UID}:{UID}", folder], check=True)
    _, report, stderr = smoke(user, "--submission", str(folder))
    log = (Path(user) / report["bundle"]).parent / "guest.log"
    assert "FOUND []" in log.read_text(), stderr
    assert report["status"] == "completed"


def test_the_key_is_the_users_alone(user):
    key = user / ".config" / "speedrun-kit" / "keys" / "own.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700
