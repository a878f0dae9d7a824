"""Debian packages: what they become, and which are refused."""

from __future__ import annotations

import gzip
import lzma
import tarfile

import pytest

from kit.core.errors import IntegrityError
from kit.image import deb as room
from kit.image.entry import EntryKind, chunks


def read(kitchen, deb):
    return room.read_deb(deb, kitchen.folder / deb.name, kitchen.folder / "spool.tar")


def entries(kitchen, members, **arguments):
    return {e.path: e for e in read(kitchen, kitchen.deb(members, **arguments))[1]}


def test_files_keep_their_bytes_and_lose_every_mode_but_executable(kitchen, cook):
    found = entries(
        kitchen,
        [
            cook.member("./usr/bin/su", b"program", mode=0o4755),
            cook.member("./etc/secret", b"words", mode=0o600),
        ],
    )
    assert b"".join(chunks(found["usr/bin/su"].source)) == b"program"
    assert (found["usr/bin/su"].mode, found["etc/secret"].mode) == (0o755, 0o644)


def test_top_level_folders_move_below_usr(kitchen, cook):
    found = entries(
        kitchen,
        [
            cook.member("./lib", kind=tarfile.DIRTYPE),
            cook.member("./lib/x86_64-linux-gnu/libm.so.6", b"m"),
            cook.member("./sbin/ldconfig", b"l"),
            cook.member("./library/x", b"x"),
        ],
    )
    assert sorted(found) == ["library/x", "usr/lib/x86_64-linux-gnu/libm.so.6", "usr/sbin/ldconfig"]


def test_documentation_is_left_out_and_licences_stay(kitchen, cook):
    found = entries(
        kitchen,
        [
            cook.member(f"./usr/{name}", b"x")
            for name in (
                "share/doc/hello/copyright",
                "share/doc/hello/changelog.gz",
                "share/doc/hello/examples/copyright",
                "share/man/man1/hello.1",
                "share/locale/de/hello.mo",
                "lib/python3/hello.pyc",
                "bin/hello",
            )
        ],
    )
    assert sorted(found) == ["usr/bin/hello", "usr/share/doc/hello/copyright"]


def test_a_hard_link_becomes_a_file_of_the_same_bytes(kitchen, cook):
    found = entries(
        kitchen,
        [
            cook.member("./usr/bin/perl", b"perl", mode=0o755),
            cook.member("./usr/bin/perl5", kind=tarfile.LNKTYPE, linkname="./usr/bin/perl"),
        ],
    )
    assert found["usr/bin/perl5"].kind is EntryKind.FILE
    assert b"".join(chunks(found["usr/bin/perl5"].source)) == b"perl"
    assert found["usr/bin/perl5"].mode == 0o755


@pytest.mark.parametrize(
    ("compress", "suffix"),
    [(lzma.compress, ".xz"), (gzip.compress, ".gz"), (lambda b: b, "")],
    ids=["xz", "gz", "none"],
)
def test_every_compression_gives_the_same_entries(kitchen, cook, compress, suffix):
    found = entries(kitchen, [cook.member("./etc/x", b"same")], compress=compress, suffix=suffix)
    assert b"".join(chunks(found["etc/x"].source)) == b"same"


@pytest.mark.parametrize(
    ("name", "fields", "why"),
    [
        ("/etc/passwd", {}, "absolute"),
        ("./../etc/passwd", {}, r"path contains \.\."),
        ("./usr/../../etc/passwd", {}, r"path contains \.\."),
        ("./etc/a\nb", {}, "backslash or unprintable"),
        ("./etc/a\\b", {}, "backslash or unprintable"),
        ("./etc/.wh.passwd", {}, "whiteout file"),
        ("./" + "d/" * 600 + "x", {}, "longer than"),
        ("./etc/x", {"kind": tarfile.SYMTYPE, "linkname": "../../outside"}, "out of the root"),
        ("./etc/x", {"kind": tarfile.SYMTYPE, "linkname": "/.."}, "out of the root"),
        ("./etc/x", {"kind": tarfile.SYMTYPE, "linkname": "a\nb"}, "unprintable"),
        ("./dev/sda", {"kind": tarfile.BLKTYPE}, "not a file"),
        ("./dev/null", {"kind": tarfile.CHRTYPE}, "not a file"),
        ("./run/pipe", {"kind": tarfile.FIFOTYPE}, "not a file"),
        ("./etc/x", {"kind": tarfile.LNKTYPE, "linkname": "./etc/absent"}, "does not precede it"),
    ],
)
def test_refuses_hostile_members(kitchen, cook, name, fields, why):
    with pytest.raises(IntegrityError, match=why) as caught:
        entries(kitchen, [cook.member(name, **fields)])
    assert "hello_1.0-1_all.deb" in caught.value.message


def test_refuses_two_members_of_one_name_also_through_merged_usr(kitchen, cook):
    with pytest.raises(IntegrityError, match="two members named usr/bin/x"):
        entries(kitchen, [cook.member("./bin/x", b"1"), cook.member("./usr/bin/x", b"2")])


def test_refuses_extended_headers_of_which_each_is_about_the_next_one(kitchen, cook):
    chain = cook.member("x", kind=tarfile.XHDTYPE)[0].tobuf() * 2000
    with pytest.raises(IntegrityError, match="cannot read data"):
        entries(kitchen, [], compress=lambda data: lzma.compress(chain))


def test_refuses_a_bomb_before_it_is_unpacked(kitchen, cook):
    deb = kitchen.deb([cook.member("./etc/zeros", bytes(65 << 20))])
    assert deb.size < 1 << 20
    with pytest.raises(IntegrityError, match="unpacks to more than"):
        read(kitchen, deb)
    assert (kitchen.folder / "spool.tar").stat().st_size <= 65 << 20


def test_refuses_too_many_members(kitchen, cook, monkeypatch):
    monkeypatch.setattr(room, "MAX_MEMBERS", 3)
    with pytest.raises(IntegrityError, match="more than 3 members"):
        entries(kitchen, [cook.member(f"./etc/{i}") for i in range(4)])


def test_refuses_a_package_that_is_not_the_locked_one(kitchen, cook):
    with pytest.raises(IntegrityError, match=r"contains hello 6\.6, but lock\.json names hello 1\.0-1"):
        entries(kitchen, [cook.member("./etc/x")], said="6.6")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda d: b"PK" + d, "not an ar archive"),
        (lambda d: d[:-100], "truncated"),
        (lambda d: d[:100], "truncated|invalid ar header|format 2.0"),
        (lambda d: d.replace(b"2.0\n", b"3.0\n", 1), "format 2.0"),
        (lambda d: d.replace(b"data.tar.xz", b"data.tar.7z"), "unknown compression"),
        (lambda d: d.replace(b"control.tar.xz", b"control.tar.gz"), "cannot unpack"),
    ],
)
def test_refuses_what_is_not_a_package(kitchen, cook, spoil, why):
    good = kitchen.deb([cook.member("./etc/x", b"x")])
    bad = kitchen.raw_deb(spoil((kitchen.folder / good.name).read_bytes()))
    with pytest.raises(IntegrityError, match=why):
        read(kitchen, bad)


def damaged(data: bytes) -> bytes:
    """Change bytes in the middle of a gzip stream, whose head and end stay as they are."""
    at = len(data) // 2
    return data[:at] + bytes(b ^ 255 for b in data[at : at + 40]) + data[at + 40 :]


def test_a_damaged_stream_is_refused_and_named(kitchen, cook):
    def compress(data: bytes) -> bytes:
        return damaged(gzip.compress(bytes(range(256)) * 40 + data))

    with pytest.raises(IntegrityError, match=r"all\.deb: cannot unpack data\.tar\.gz: ") as caught:
        entries(kitchen, [cook.member("./etc/x", b"same")], compress=compress, suffix=".gz")
    assert caught.value.hint == "download the package again"


def test_refuses_an_archive_with_two_members_of_one_kind(kitchen, cook):
    text = b"Package: hello\nVersion: 1.0-1\n"
    control = lzma.compress(cook.tar([cook.member("./control", text)]))
    data = lzma.compress(cook.tar([cook.member("./etc/x")]))
    parts = {"debian-binary": b"2.0\n", "control.tar.xz": control, "data.tar.xz": data, "data.tar.gz": data}
    with pytest.raises(IntegrityError, match=r"two members named data\.tar\.gz"):
        read(kitchen, kitchen.raw_deb(cook.ar(parts)))


@pytest.mark.parametrize("text", [b"\xff\xfe", b"Package: \xff"])
def test_refuses_a_control_file_that_is_no_text(kitchen, cook, text):
    control = lzma.compress(cook.tar([cook.member("./control", text)]))
    parts = {"debian-binary": b"2.0\n", "control.tar.xz": control, "data.tar.xz": lzma.compress(cook.tar([]))}
    with pytest.raises(IntegrityError, match="cannot read control") as caught:
        read(kitchen, kitchen.raw_deb(cook.ar(parts)))
    assert caught.value.hint == "download the package again"
