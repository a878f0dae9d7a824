"""An ordinary user's kit, installed from its wheel: rootless, with its own store, contained all the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from conftest import PATIENT, REPOSITORY
from own_venv import make_venv, make_wheel
from test_hostile_guests import SEEKER

from kit.core.home import default_store

pytestmark = [pytest.mark.container, pytest.mark.network]

UID = 31337
PYTHON = Path("/usr/bin/python3")


@pytest.fixture(scope="module")
def user(cpu_image):
    """A folder of another user: the installed wheel, the locked artifacts, an empty folder to work in."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    modern = "import sys; sys.exit(sys.version_info < (3, 11))"
    if not PYTHON.exists() or subprocess.run([PYTHON, "-c", modern], check=False).returncode:
        pytest.skip(f"{PYTHON} is not Python 3.11 or newer")
    base = Path(tempfile.mkdtemp(prefix="speedrun-user-"))
    try:
        make_venv(base / "venv", str(make_wheel(base / "wheel")), python=PYTHON)
        (base / "work").mkdir()
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


def run(base: Path, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program of the user's environment, `speedrun` or `python`."""
    program, *arguments = command
    env = {"HOME": str(base), "PATH": "/usr/bin:/bin", "LANG": "de_AT.UTF-8"}
    return subprocess.run(
        [str(base / "venv" / "bin" / program), *arguments], user=UID, group=UID, extra_groups=[], env=env,
        cwd=cwd or base / "work", umask=0o077, capture_output=True, text=True, check=False, timeout=1500,
    )  # fmt: skip


def smoke(base: Path, *more: str) -> tuple[int, dict, str]:
    command = ["speedrun", "eval", "--record", "3", "--profile", "smoke", "--json"]
    done = run(base, *command, "--mirror", str(base / "mirror"), *PATIENT, *more)
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else {}, done.stderr


def test_an_ordinary_user_builds_the_same_image_trains_and_is_told_what_is_not_enforced(user):
    code, report, stderr = smoke(user)
    assert code == 0, stderr
    shown = run(user, "speedrun", "bundle", "show", report["bundle"], "--json")
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
    log = (user / "work" / report["bundle"]).parent / "guest.log"
    assert "FOUND []" in log.read_text(), stderr
    assert report["status"] == "completed"


def test_the_key_is_the_users_alone(user):
    key = user / ".config" / "speedrun-kit" / "keys" / "own.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700


def files_of(folder: Path) -> dict[str, bytes]:
    """The files below a folder, without compiled Python."""
    files = (p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def test_the_wheel_brings_the_facts_and_the_scripts_of_guests(user):
    ask = "from kit.core.facts import facts_root, guest_file; print(facts_root(), guest_file('x').parent)"
    done = run(user, "python", "-c", ask)
    assert done.returncode == 0, done.stderr
    facts, guest = (Path(word) for word in done.stdout.split())
    assert facts.is_relative_to(user / "venv") and facts.parts[-2:] == ("kit", "_facts")
    for name, folder in (
        ("images", facts),
        ("records", facts),
        ("hints", facts),
        ("rubrics", facts),
        ("kit/agent/prompts", guest.parents[1]),
        ("kit/judge/prompts", guest.parents[1]),
        ("kit/guest", guest.parents[1]),
    ):
        assert files_of(folder / name) == files_of(REPOSITORY / name) != {}, name


@pytest.mark.parametrize(
    "arguments",
    [
        "--version",
        "record list",
        "record show 3",
        "task list",
        "task show 3",
        "hint show 3 --level 1",
        "hint lint",
        "rubric show 3",
        "rubric lint",
        "image list",
        "bundle schema",
    ],
)
def test_a_command_of_the_wheel_answers_in_an_empty_folder(user, arguments):
    empty = Path(tempfile.mkdtemp(dir=user))
    os.chown(empty, UID, UID)
    done = run(user, "speedrun", *arguments.split(), cwd=empty)
    assert done.returncode == 0 and done.stdout + done.stderr, done.stderr
    assert list(empty.iterdir()) == []
