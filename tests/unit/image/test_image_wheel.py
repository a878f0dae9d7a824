"""Wheels: installed as PyPA's installer does it, or refused."""

from __future__ import annotations

import base64
import csv
import hashlib
import zipfile
from pathlib import Path

import pytest
from installer import install
from installer.destinations import SchemeDictionaryDestination
from installer.sources import WheelFile

from kit.core.errors import IntegrityError
from kit.image import wheel as room
from kit.image.entry import chunks

SITE = "usr/local/lib/python3.11/dist-packages"

FILES = {
    "small/__init__.py": b"x = 1\n",
    "small/tool.sh": b"#!/bin/sh\n",
    "small/stale.pyc": b"byte code",
    "bin/odd.py": b"a folder named bin is no system folder here\n",
    "small-2.0.data/scripts/run-me": b"#!python\nprint(1)\n",
    "small-2.0.data/scripts/shell": b"#!/bin/sh\n",
    "small-2.0.data/data/share/small/x.txt": b"data\n",
    "small-2.0.data/headers/small.h": b"int x;\n",
    "small-2.0.data/purelib/extra.py": b"y = 2\n",
    "small-2.0.data/platlib/native.py": b"z = 3\n",
    "small-2.0.dist-info/INSTALLER": b"someone\n",
    "small-2.0.dist-info/direct_url.json": b"{}",
}
POINTS = "[console_scripts]\nrunner = small.cli:main\nsub = small.cli:App.start\n[other]\nx = y:z\n"


def read(kitchen, wheel):
    return room.read_wheel(wheel, kitchen.folder / wheel.name, "3.11")


def content(entries):
    return {e.path: b"".join(chunks(e.source)) for e in entries}


def test_installs_the_same_files_as_the_installer_library(kitchen, tmp_path):
    executable = ("small/tool.sh", *(f"small-2.0.data/scripts/{name}" for name in ("run-me", "shell")))
    wheel = kitchen.wheel(FILES, entry_points=POINTS, executable=executable)
    ours = read(kitchen, wheel)
    root = tmp_path / "theirs"
    schemes = {
        "purelib": root / SITE,
        "platlib": root / SITE,
        "scripts": root / "usr/local/bin",
        "headers": root / "usr/local/include/python3.11/small",
        "data": root / "usr/local",
    }
    destination = SchemeDictionaryDestination(
        {k: str(v) for k, v in schemes.items()}, interpreter="/usr/bin/python3", script_kind="posix"
    )
    with WheelFile.open(kitchen.folder / wheel.name) as source:
        install(source=source, destination=destination, additional_metadata={})
    theirs = {p.relative_to(root).as_posix(): p for p in root.rglob("*") if p.is_file()}
    dropped = {
        f"{SITE}/small/stale.pyc",
        *(f"{SITE}/small-2.0.dist-info/{n}" for n in ("INSTALLER", "direct_url.json")),
    }
    assert {e.path for e in ours} == theirs.keys() - dropped
    generated = {"usr/local/bin/runner", "usr/local/bin/sub", f"{SITE}/small-2.0.dist-info/RECORD"}
    for path, data in content(ours).items():
        assert path in generated or data == theirs[path].read_bytes(), path
    assert {e.path for e in ours if e.mode & 0o111} == {
        p for p, file in theirs.items() if file.stat().st_mode & 0o111 and p not in dropped
    }


def test_entry_points_become_scripts_that_call_the_function(kitchen):
    scripts = content(read(kitchen, kitchen.wheel(FILES, entry_points=POINTS)))
    assert scripts["usr/local/bin/runner"].startswith(b"#!/usr/bin/python3\n")
    assert b"from small.cli import App\n" in scripts["usr/local/bin/sub"]
    assert b"sys.exit(App.start())" in scripts["usr/local/bin/sub"]
    assert scripts["usr/local/bin/run-me"].startswith(b"#!/usr/bin/python3\nprint")


def test_record_is_sorted_and_says_the_truth_about_every_file(kitchen):
    files = content(read(kitchen, kitchen.wheel(FILES, entry_points=POINTS)))
    record = f"{SITE}/small-2.0.dist-info/RECORD"
    rows = list(csv.reader(files[record].decode().splitlines()))
    assert rows == sorted(rows)
    listed = {}
    for path, digest, size in rows:
        listed[(Path("/") / SITE / path).resolve().as_posix().lstrip("/")] = (digest, size)
    assert listed.keys() == files.keys()
    for path, data in files.items():
        if path != record:
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert listed[path] == (f"sha256={digest}", str(len(data))), path


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../evil.py", r"path contains \.\."),
        ("small/../../evil.py", r"path contains \.\."),
        ("/etc/evil", "absolute"),
        ("small-2.0.data/data/../../etc/evil", r"path contains \.\."),
        ("small-2.0.data/scripts//etc/evil", "absolute"),
        ("small//evil.py", "path is not normalized"),
        ("./evil.py", "path is not normalized"),
        ("small\\..\\evil.py", "missing from RECORD"),
        ("small\x07evil.py", "backslash or unprintable"),
        ("small-2.0.data/root/evil", "unknown scheme"),
    ],
)
def test_refuses_hostile_members(kitchen, name, why):
    wheel = kitchen.wheel({name: b"evil"})
    with pytest.raises(IntegrityError, match=why):
        read(kitchen, wheel)


def test_refuses_links(kitchen):
    link = zipfile.ZipInfo("small/link")
    link.external_attr = 0o120777 << 16
    with pytest.raises(IntegrityError, match="not a regular file"):
        read(kitchen, kitchen.wheel({}, extra=[(link, b"/etc/passwd")]))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_refuses_two_members_of_one_name(kitchen):
    twice = zipfile.ZipInfo("small.py")
    with pytest.raises(IntegrityError, match="two members"):
        read(kitchen, kitchen.wheel({"small.py": b"1"}, extra=[(twice, b"2")]))


def test_refuses_two_members_that_end_at_one_place(kitchen):
    with pytest.raises(IntegrityError, match="two members install to this path"):
        read(kitchen, kitchen.wheel({"x.py": b"1", "small-2.0.data/purelib/x.py": b"2"}))


def test_refuses_a_member_that_its_record_hides(kitchen):
    with pytest.raises(IntegrityError, match="missing from RECORD"):
        read(kitchen, kitchen.wheel({"sneaky.pth": b"import os"}, leave_out_of_record=("sneaky.pth",)))


def test_refuses_a_bomb_by_its_directory(kitchen):
    wheel = kitchen.wheel({"zeros.bin": bytes(65 << 20)})
    assert wheel.size < 1 << 20
    with pytest.raises(IntegrityError, match="unpacks to"):
        read(kitchen, wheel)


@pytest.mark.parametrize(
    "points", ["[console_scripts]\n../evil = a:b\n", "[console_scripts]\nx = a:b.__import__('os')\n"]
)
def test_refuses_entry_points_that_would_write_code(kitchen, points):
    with pytest.raises(IntegrityError):
        read(kitchen, kitchen.wheel({"a.py": b""}, entry_points=points))


def test_refuses_what_is_not_the_locked_project(kitchen):
    import dataclasses

    wheel = dataclasses.replace(kitchen.wheel({"a.py": b""}), version="2.1")
    with pytest.raises(IntegrityError, match=r"contains small 2.0, but lock.json names small 2.1"):
        read(kitchen, wheel)


def test_refuses_a_wheel_of_a_later_format_version(kitchen):
    with pytest.raises(IntegrityError, match=r"wheel version 2\.0"):
        read(kitchen, kitchen.wheel({"a.py": b""}, wheel_version="2.0"))


def test_refuses_a_second_metadata_folder(kitchen):
    with pytest.raises(IntegrityError, match=r"1 .dist-info directory, got 2"):
        read(kitchen, kitchen.wheel({"other-1.0.dist-info/METADATA": b"x"}))


def test_refuses_what_is_not_a_zip(kitchen):
    wheel = kitchen.wheel({"a.py": b""})
    (kitchen.folder / wheel.name).write_bytes(b"<html>not found</html>")
    with pytest.raises(IntegrityError, match="is not a valid wheel"):
        read(kitchen, wheel)
