"""The guest's program for compile caches: which files it hands over, and that a copy can be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kit.evaluate.compile_cache_run import receive
from kit.guest import compile_cache

PROGRAM = Path(compile_cache.__file__)


def test_what_it_prints_is_what_the_kit_receives(tmp_path: Path) -> None:
    big = os.urandom(compile_cache.CHUNK * 2 + 5)
    root = tmp_path / "inductor"
    for name, data in {"a/big.so": big, "a/empty": b"", "exact": b"0" * compile_cache.CHUNK}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    (root / "a/.1.2.tmp").write_bytes(b"temporary")
    (root / "a/name with blanks").write_bytes(b"odd")
    (root / "locks").mkdir()
    (root / "locks/k.lock").touch()
    (root / "link").symlink_to("/etc/passwd")
    os.mkfifo(root / "pipe")
    code = f"import compile_cache as c; c.print_caches('t0ken', {{'inductor': {str(root)!r}}})"
    with (tmp_path / "log").open("wb") as log:
        subprocess.run([sys.executable, "-c", code], cwd=PROGRAM.parent, stdout=log, check=True)
    files = receive(tmp_path / "log", "t0ken", tmp_path / "received")
    assert [file.name for file in files] == ["inductor/a/big.so", "inductor/a/empty", "inductor/exact"]
    assert (tmp_path / "received/inductor/a/big.so").read_bytes() == big


def test_it_copies_what_is_mounted_to_where_it_can_be_written(tmp_path: Path) -> None:
    source = tmp_path / "mounted" / "triton"
    source.mkdir(parents=True)
    (source / "kernel").write_bytes(b"code")
    (source / "kernel").chmod(0o444)
    caches = {name: str(tmp_path / "own" / name) for name in ("inductor", "triton")}
    compile_cache.copy_caches(str(tmp_path / "mounted"), caches)
    copy = tmp_path / "own" / "triton" / "kernel"
    assert copy.read_bytes() == b"code" and copy.stat().st_mode & 0o200
    assert not (tmp_path / "own" / "inductor").exists()


def test_it_kills_nothing_outside_a_container() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(PROGRAM), "keep", "t0ken", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "run it first in a container" in done.stderr and not done.stdout


@pytest.mark.parametrize("name", ["keep", "use"])
def test_its_help_names_both_uses(name: str) -> None:
    assert f"compile_cache.py {name} " in (compile_cache.__doc__ or "")
