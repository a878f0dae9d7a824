"""What a guest with another uid must read is readable, whatever the umask of the user."""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kit.audit.source import SourceFile
from kit.benchmark.submission import load_submission
from kit.core.errors import RunError
from kit.core.files import make_readable, readable_copy, write_atomic
from kit.evaluate import streams
from kit.evaluate.start_script import ReferenceTrainer
from kit.sandbox import isolation_probe, processes, speed_probe
from kit.sandbox.folder import new_run_id, reserve
from kit.sandbox.runtime import runc
from kit.values.run_spec import RunSpec


@pytest.fixture(autouse=True, params=[0o077, 0o027], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def unreadable(folder: Path) -> list[str]:
    """The paths below a folder that another uid cannot read, or enter."""
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}
    needed = {path: 0o055 if path.is_dir() else 0o044 for path in modes}
    return sorted(path.name for path, mode in modes.items() if mode & needed[path] != needed[path])


def test_a_staged_submission_with_folders_is_readable(tmp_path):
    handed_in = tmp_path / "handed-in"
    (handed_in / "models" / "small").mkdir(parents=True)
    for name in ("train_gpt2.py", "run.toml", "models/small/net.py"):
        (handed_in / name).write_text("")
    staged = tmp_path / "staged"
    staged.mkdir()
    load_submission(handed_in).write(staged)
    assert unreadable(staged) == []


def test_the_reference_trainer_is_readable(tmp_path):
    ReferenceTrainer(("--lr", "0.1")).write(tmp_path, None)
    assert len(list(tmp_path.iterdir())) == 2 and unreadable(tmp_path) == []


def test_the_scripts_of_an_audit_are_readable(tmp_path):
    (tmp_path / "staged").mkdir()
    streams.write(tmp_path / "staged", (SourceFile("a/b/c.py", b""), SourceFile("d.py", b"")))
    assert unreadable(tmp_path) == []


def test_copies_and_folders_for_a_guest_are_readable(tmp_path):
    (tmp_path / "private").write_text("x")
    folder = make_readable(tmp_path / "open" / "wide", tmp_path)
    readable_copy(tmp_path / "private", folder)
    assert unreadable(tmp_path) == ["private"]


def test_runc_makes_its_mount_points_with_a_readable_mode(program, tmp_path, monkeypatch):
    monkeypatch.setattr(runc.cgroup, "writable", lambda: True)
    program(
        "runc", f'[ "$1" = --version ] && echo runc version 1.1.5 && exit\numask > {tmp_path}/umask; exit 7'
    )
    for name in ("submission", "scratch"):
        (tmp_path / name).mkdir()
    spec = RunSpec(new_run_id(3), None, tmp_path / "submission", ("true",), (("PATH", "/usr/bin:/bin"),))
    with pytest.raises(RunError, match="exit code 7"):
        runc.Runc(Path(sys.executable), tmp_path / "state").start(spec, tmp_path / "scratch")
    assert int((tmp_path / "umask").read_text(), 8) == 0o022
    assert processes.marked(spec.run_id) == []


@pytest.mark.parametrize("module", [isolation_probe, speed_probe], ids=lambda m: m.__name__)
def test_a_probe_of_a_private_installation_is_readable(module, tmp_path, monkeypatch):
    class Stopped(Exception):
        pass

    def start(runtime, spec, scratch, **_):
        files = [m.source for m in spec.mounts if m.source.suffix == ".py"]
        assert files and all(stat.S_IMODE(f.stat().st_mode) & 0o444 == 0o444 for f in files)
        raise Stopped

    for name in ("SCRIPT", "FIRST_CHECKS"):
        if hasattr(module, name):
            private = tmp_path / getattr(module, name).name
            private.write_bytes(getattr(module, name).read_bytes())
            monkeypatch.setattr(module, name, private)
    monkeypatch.setattr(module, "run_guest", start)
    (tmp_path / "submission").mkdir()
    (tmp_path / "scratch").mkdir()
    spec = RunSpec(new_run_id(3), None, tmp_path / "submission", ("true",), ())
    act = getattr(module, "probe", None) or module.measure

    class Contained:
        contains = True

    with pytest.raises(Stopped):
        act(Contained(), replace(spec, gpus=0), "python3", tmp_path / "scratch")


def test_the_documents_and_the_log_of_a_run_have_the_modes_of_new_files(tmp_path, umask):
    script = tmp_path / "script"
    script.mkdir()
    (script / "train_gpt2.py").write_text("")
    with reserve(tmp_path / "runs", new_run_id(3), lambda lease: b"{}", script) as run:
        write_atomic(run.result, b"{}")
        files = (run.intent, run.log, run.stamps, run.result)
        assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o666 & ~umask}
        assert unreadable(run.submission) == [] and stat.S_IMODE(run.path.stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "runs").stat().st_mode) == 0o777 & ~umask


def test_a_file_with_a_mode_of_its_own_has_it(tmp_path):
    write_atomic(tmp_path / "shared", b"x", mode=0o644)
    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o644
    assert [p.name for p in tmp_path.iterdir()] == ["shared"]
