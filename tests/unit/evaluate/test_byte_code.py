"""Compiled Python files of an image: made once, remade if changed, and no reason for a run to fail."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path

import pytest

from kit.core.digest import Sha256, files_under, tree_digest
from kit.core.errors import IntegrityError, RunError
from kit.core.store import Store, no_progress
from kit.evaluate import byte_code
from kit.sandbox.runtime.port import BOOTSTRAP, bootstrap
from kit.values.run_spec import BYTE_CODE, ImageRef, RunSpec

IMAGE = ImageRef("cpu", Sha256("a" * 64), Sha256("b" * 64))
NAME = "usr/lib/python3.11/json/__init__.cpython-311.pyc"
FILES = {NAME: b"compiled", "usr/local/lib/python3.11/dist-packages/torch/_C.cpython-311.pyc": b"more"}


@pytest.fixture
def made(monkeypatch):
    """The compilations so far; no container is started."""
    calls: list[ImageRef] = []

    def compiled(image, env, runtime):
        calls.append(image)
        return FILES

    monkeypatch.setattr(byte_code, "_compiled", compiled)
    return calls


def ensure(store, progress=no_progress):
    return byte_code.ensure_byte_code(IMAGE, (), None, store, progress)


def line(name: str, data: bytes) -> bytes:
    return f"{name} {base64.b64encode(zlib.compress(data)).decode()}\n".encode()


def test_it_is_made_once_and_readable_by_every_uid(tmp_path, made):
    store = Store(tmp_path)
    first = ensure(store)
    assert ensure(store) == first and made == [IMAGE]
    assert files_under(first.folder).keys() == FILES.keys()
    assert first.digest == tree_digest(files_under(first.folder))
    assert (first.mount.source, first.mount.target) == (first.folder, BYTE_CODE)
    modes = {path.stat().st_mode & 0o777 for path in first.folder.rglob("*")}
    assert modes == {0o444, 0o755}


@pytest.mark.parametrize("change", ["content", "added", "removed", "seal"])
def test_byte_code_that_was_changed_in_the_store_is_made_again(tmp_path, made, change):
    store = Store(tmp_path)
    first = ensure(store)
    file = first.folder / NAME
    match change:
        case "content":
            file.chmod(0o644)
            file.write_bytes(b"hostile!")
        case "added":
            (file.parent / "decoder.cpython-311.pyc").write_bytes(b"hostile!")
        case "removed":
            file.unlink()
        case "seal":
            (first.folder.parent / byte_code.SEAL).write_text("0" * 64)
    again = ensure(store)
    assert again == first and len(made) == 2
    assert file.read_bytes() == b"compiled"
    assert files_under(again.folder).keys() == FILES.keys()


def test_a_run_goes_on_without_it_if_the_store_cannot_hold_it(tmp_path, made):
    (tmp_path / byte_code.ROOM).write_text("not a directory")
    told = []
    assert ensure(Store(tmp_path), lambda label, *_: told.append(label)) is None
    assert told[-1].startswith("continue without compiled Python files: ")


def test_a_run_goes_on_without_it_if_compiling_fails(tmp_path, monkeypatch):
    def fail(*_):
        raise RunError("compiling failed")

    monkeypatch.setattr(byte_code, "_compiled", fail)
    assert ensure(Store(tmp_path)) is None
    assert list((tmp_path / byte_code.ROOM).glob("*") if (tmp_path / byte_code.ROOM).exists() else ()) == []


def test_the_output_is_read_as_it_was_written():
    assert byte_code.parse_files(line(*item) for item in FILES.items()) == FILES


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\n",
        b"usr/lib/a.cpython-311.pyc !\n",
        b"usr/lib/a.cpython-311.pyc " + base64.b64encode(b"no zlib") + b"\n",
        b"usr/lib/a.cpython-311.pyc " + base64.b64encode(zlib.compress(b"x" * 99)[:-6]) + b"\n",
        line("usr/lib/a.cpython-311.pyc", b"0" * (byte_code.MAX_FILE_BYTES + 1)),
        line("../a.cpython-311.pyc", b""),
        line("usr/../../a.cpython-311.pyc", b""),
        line("/usr/lib/a.cpython-311.pyc", b""),
        line("workspace/a.cpython-311.pyc", b""),
        line("usr/lib/a.py", b""),
        line(NAME, b"1") + b"\n" + line(NAME, b"2"),
    ],
)
def test_other_output_is_refused(bad):
    with pytest.raises(IntegrityError, match=r"byte_code\.py"):
        byte_code.parse_files(bad.splitlines(keepends=True))


def test_only_a_guest_with_byte_code_links_it_into_its_cache():
    spec = RunSpec("r", IMAGE, Path("/s"), ("torchrun",), ())
    assert bootstrap(spec, "/input/submission")[2] == BOOTSTRAP
    with_files = RunSpec(
        "r",
        IMAGE,
        Path("/s"),
        ("torchrun",),
        (),
        mounts=(byte_code.ByteCode(Path("/f"), IMAGE.config_digest).mount,),
    )
    script = bootstrap(with_files, "/input/submission")[2]
    assert script.endswith(BOOTSTRAP) and "cp -Rs /input/byte-code/. /tmp/pycache/" in script
