"""Layers: what is in them, what contradicts, and how their bytes are spelled."""

from __future__ import annotations

import dataclasses
import io
import os
import subprocess
import sys
import tarfile

import pytest

from kit.core.digest import sha256_bytes
from kit.core.errors import IntegrityError
from kit.core.facts import guest_file
from kit.core.store import FolderFetcher, Store, no_progress
from kit.image.acquire import fetch
from kit.image.assemble import assembled
from kit.image.base import GUEST_UID
from kit.image.entry import ArchiveEntry, EntryKind, Extent, chunks, folder, link, literal
from kit.image.layer import plan_layers
from kit.image.lock import PlainFile, read_lock
from kit.image.spec import SpecFile, WheelMember
from kit.image.tarball import tar_size, write_tar

EPOCH = 1783728000


def spell(entries):
    out = io.BytesIO()
    size = write_tar(entries, EPOCH, out.write, lambda done: None)
    assert size == len(out.getvalue()) == tar_size(entries)
    return out.getvalue()


def plans(tiny, tmp_path, debs=(), wheels=(), own_layer=("big",)):
    """Plan the tiny era with further packages."""
    store = Store(tmp_path / "store")
    lock = read_lock(tiny.spec)
    lock = dataclasses.replace(lock, debs=(*lock.debs, *debs), wheels=(*lock.wheels, *wheels))
    fetch(lock, store, [FolderFetcher(tiny.mirror)])
    spool = tmp_path / "spool"
    spool.mkdir()
    return plan_layers(dataclasses.replace(tiny.spec, own_layer=own_layer), lock, store, spool, 2)


def test_long_and_foreign_names_survive_in_any_tar_reader():
    names = ["short", "d/" + "n" * 99, "d/" + "n" * 200, "d/" + "é" * 60, "d/ü"]
    entries = [literal(n, n.encode(), "test") for n in names]
    entries += [link("d/l", "t" * 150, "test"), folder("f" * 120, "test")]
    with tarfile.open(fileobj=io.BytesIO(spell(entries)), mode="r:") as tar:
        assert [m.name for m in tar.getmembers()] == [*names, "d/l", "f" * 120]
        assert all(tar.extractfile(n).read() == n.encode() for n in names)
        assert tar.getmember("d/l").linkname == "t" * 150
        assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in tar} == {(0, 0, "", "", EPOCH)}


def test_a_header_is_the_one_that_the_format_describes():
    ours = spell(
        [
            ArchiveEntry("bin/x", EntryKind.FILE, 0o755, "test", 0),
            folder("bin", "test"),
            link("l", "bin/x", "test"),
        ]
    )
    with tarfile.open(fileobj=io.BytesIO(ours), mode="r:") as tar:
        members = tar.getmembers()
    assert [(m.type, m.mode) for m in members] == [(b"0", 0o755), (b"5", 0o755), (b"2", 0o777)]
    assert ours[257:265] == b"ustar\x0000"


def test_a_source_that_is_too_short_or_too_long_is_refused(tmp_path):
    file = tmp_path / "f"
    file.write_bytes(b"12345")
    for offset, size in ((3, 5), (0, 9)):
        entry = ArchiveEntry("f", EntryKind.FILE, 0o644, "some.deb", size, Extent(file, offset, size))
        with pytest.raises(IntegrityError, match=r"some\.deb: size mismatch in f"):
            spell([entry])


def test_layers_are_in_order_and_hold_what_their_titles_say(tiny, tmp_path):
    found = plans(tiny, tmp_path)
    assert [p.title for p in found] == ["base", "big", "small wheels"]
    base, big, small = ({e.path: e for e in p.entries} for p in found)
    site = "usr/local/lib/python3.11/dist-packages"
    assert base["usr/bin/hello"].mode == 0o755
    assert "usr/local/bin/bigrun" in big and f"{site}/big/weights.bin" in big
    assert f"{site}/small.py" in small and f"{site}/big/__init__.py" not in small
    for plan in found:
        paths = [e.path for e in plan.entries]
        parents = {p.rpartition("/")[0] for p in paths} - {""}
        assert parents <= set(paths) and len(paths) == len(set(paths))
        assert all(paths.index(p) < paths.index(c) for c in paths if (p := c.rpartition("/")[0]))


def further(tiny, tmp_path, **changes):
    """Plan the tiny era with other sources of files in its image.toml; return the plans by title."""
    store, spool = Store(tmp_path / "store"), tmp_path / "spool"
    spec = dataclasses.replace(tiny.spec, **changes)
    files = tuple(PlainFile(f.name, f.size, f.sha256, f.url) for f in spec.files)
    lock = dataclasses.replace(read_lock(tiny.spec), files=files)
    fetch(lock, store, [FolderFetcher(tiny.mirror)])
    spool.mkdir()
    return {p.title: {e.path: e for e in p.entries} for p in plan_layers(spec, lock, store, spool, 2)}


def test_a_wheel_of_which_one_file_is_taken_is_not_installed(tiny, tmp_path):
    taken = (WheelMember("big", "big/weights.bin", "usr/local/lib/weights.bin"),)
    layer = further(tiny, tmp_path, extract=taken)["big"]
    assert set(layer) == {"usr", "usr/local", "usr/local/lib", "usr/local/lib/weights.bin"}
    file = layer["usr/local/lib/weights.bin"]
    assert b"".join(chunks(file.source)) == bytes(range(256)) * 4096 and file.mode == 0o644


@pytest.mark.parametrize(
    ("wheel", "member", "why"),
    [("big", "big/none", "has no file big/none"), ("none", "x", "extract lists none, missing from lock")],
)
def test_a_file_that_no_wheel_of_the_lock_has_is_an_error(tiny, tmp_path, wheel, member, why):
    with pytest.raises(IntegrityError, match=why):
        further(tiny, tmp_path, extract=(WheelMember(wheel, member, "usr/local/lib/x"),))


def test_files_of_no_package_and_modules_of_the_kit_are_the_last_layer(tiny, tmp_path):
    (tiny.mirror / "vocab.bpe").write_bytes(b"hello")
    file = SpecFile("https://example.org/vocab.bpe", 5, sha256_bytes(b"hello"), "usr/local/share/v")
    found = further(tiny, tmp_path, files=(file,), modules=("kernels.py",))
    assert list(found) == ["base", "big", "small wheels", "files"]
    plain = {p: e for p, e in found["files"].items() if e.kind is EntryKind.FILE}
    assert set(plain) == {"usr/local/share/v", "usr/local/lib/python3.11/dist-packages/kernels.py"}
    assert b"".join(chunks(plain["usr/local/share/v"].source)) == b"hello"
    module = plain["usr/local/lib/python3.11/dist-packages/kernels.py"]
    assert module.source.data == guest_file("modules/kernels.py").read_bytes()


def test_a_module_that_the_kit_does_not_have_is_an_error(tiny, tmp_path):
    with pytest.raises(IntegrityError, match=r"lists the module none\.py"):
        further(tiny, tmp_path, modules=("none.py",))


def test_a_file_at_the_path_of_a_wheels_file_is_refused(tiny, tmp_path):
    site = "usr/local/lib/python3.11/dist-packages"
    (tiny.mirror / "vocab.bpe").write_bytes(b"hello")
    file = SpecFile("https://example.org/vocab.bpe", 5, sha256_bytes(b"hello"), f"{site}/small.py")
    with pytest.raises(IntegrityError, match=r"conflicts with the entry of small-2\.0"):
        further(tiny, tmp_path, files=(file,))


def test_the_base_has_what_package_scripts_would_have_made(tiny, tmp_path):
    base = {e.path: e for e in plans(tiny, tmp_path)[0].entries}
    assert f"guest:x:{GUEST_UID}:" in base["etc/passwd"].source.data.decode()
    assert b"127.0.0.1 localhost" in base["etc/hosts"].source.data
    assert (base["lib"].target, base["bin"].target) == ("usr/lib", "usr/bin")
    assert base["usr/bin/sh"].target == "dash"
    assert {base[p].mode for p in ("tmp", "workspace")} == {0o1777}
    assert {"data", "input", "proc", "sys", "dev"} <= base.keys()
    status = base["var/lib/dpkg/status"].source.data.decode()
    assert status.startswith("Package: hello\nStatus: install ok installed\nVersion: 1.0-1\n")


@pytest.mark.parametrize("flags", [["-I"], ["-I", "-u"]], ids=["plain", "as torchrun starts ranks"])
def test_the_guest_writes_a_line_and_its_end_with_one_call(tiny, tmp_path, flags):
    base = {e.path: e for e in plans(tiny, tmp_path)[0].entries}
    code = base["usr/lib/python3.11/sitecustomize.py"].source.data.decode()
    code += "\nprint('step', 1)\nprint('step', 2, file=sys.stderr)\nsys.stdout.write('no end')"
    # a pipe in packet mode keeps what one write call wrote apart from the next
    ends = os.pipe2(os.O_DIRECT), os.pipe2(os.O_DIRECT)
    subprocess.run([sys.executable, *flags, "-c", code], stdout=ends[0][1], stderr=ends[1][1], check=True)
    said = []
    for reader, writer in ends:
        os.close(writer)
        said.append(list(iter(lambda r=reader: os.read(r, 4096), b"")))
        os.close(reader)
    assert said == [[b"step 1\n", b"no end"], [b"step 2\n"]]


def test_two_packages_may_bring_the_same_bytes_to_one_place(tiny, tmp_path, kitchen, cook):
    deb = kitchen.deb(
        [cook.member("./usr/bin/hello", b"#!/bin/sh\necho hello\n", mode=0o755)], package="again"
    )
    assert plans(tiny, tmp_path, debs=[deb])[0].title == "base"


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("./usr/bin/hello", {"data": b"other bytes", "mode": 0o755}),
        ("./usr/bin/hello", {"data": b"#!/bin/sh\necho hello\n"}),
        ("./usr/bin/hello", {"kind": tarfile.SYMTYPE, "linkname": "dash"}),
        ("./usr/bin/hello", {"kind": tarfile.DIRTYPE}),
    ],
    ids=["bytes", "mode", "link", "folder"],
)
def test_two_packages_that_contradict_each_other_are_refused(tiny, tmp_path, kitchen, cook, name, fields):
    deb = kitchen.deb([cook.member(name, **fields)], package="other")
    with pytest.raises(IntegrityError, match="conflicts with the entry of"):
        plans(tiny, tmp_path, debs=[deb])


def test_a_file_below_a_link_is_refused(tiny, tmp_path, kitchen, cook):
    first = kitchen.deb([cook.member("./srv/way", kind=tarfile.SYMTYPE, linkname="/etc")], package="first")
    second = kitchen.deb([cook.member("./srv/way/passwd", b"evil")], package="second")
    with pytest.raises(IntegrityError, match="srv/way is not a directory"):
        plans(tiny, tmp_path, debs=[first, second])


def test_a_later_layer_cannot_replace_what_an_earlier_one_holds(tiny, tmp_path, kitchen):
    wheel = kitchen.wheel({"third-1.0.data/data/bin/bigrun": b"evil"}, project="third", version="1.0")
    with pytest.raises(IntegrityError, match="usr/local/bin/bigrun"):
        plans(tiny, tmp_path, wheels=[wheel])


def test_an_own_layer_that_is_not_locked_is_refused(tiny, tmp_path):
    with pytest.raises(IntegrityError, match="own-layer lists triton"):
        plans(tiny, tmp_path, own_layer=("triton", "big"))


def test_the_whole_image_unpacks_with_other_tools(tiny, tmp_path):
    store = Store(tmp_path / "store")
    lock = read_lock(tiny.spec)
    fetch(lock, store, [FolderFetcher(tiny.mirror)])
    with assembled(tiny.spec, lock, store, store, no_progress) as built:
        for layer in built.layers:
            with tarfile.open(layer.path, mode="r:") as tar:
                assert all(m.mtime == tiny.spec.epoch and m.uid == 0 for m in tar)
    assert not list((tmp_path / "store" / "layouts").iterdir())
