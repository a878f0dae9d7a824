"""A zip member's bytes come from where they lie, whatever the archive's directory claims of them."""

from __future__ import annotations

import random
import struct
import zipfile

import pytest

from kit.core.errors import IntegrityError
from kit.image import inflate
from kit.image import wheel as wheels
from kit.image.entry import chunks
from kit.image.inflate import packed_members

NOISE = random.Random(3).randbytes(700_000)
FILES = {
    "small/noise.bin": NOISE,
    "small/zeros.bin": bytes(5_000_000),
    "small/empty.py": b"",
    "small/text.py": b"x = 1\n" * 1000,
}


def located(path):
    with zipfile.ZipFile(path) as archive:
        return packed_members(archive, path, archive.infolist(), path.name)


def read(kitchen, wheel):
    return wheels.read_wheel(wheel, kitchen.folder / wheel.name, "3.11")


def spoiled(kitchen, change):
    """Make a good wheel and let `change` spoil its bytes, given where member small.py lies."""
    wheel = kitchen.wheel({"small.py": b"y = 2\n" * 50, "other.py": NOISE[:500]})
    path = kitchen.folder / wheel.name
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        infos = {i.filename: i for i in archive.infolist()}
    change(data, infos)
    path.write_bytes(data)
    return wheel


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_members_come_out_as_zipfile_reads_them_in_bounded_steps(tmp_path, method):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    for name, part in located(path).items():
        pieces = list(inflate.inflated(part))
        assert b"".join(pieces) == FILES[name]
        assert max(map(len, pieces), default=0) <= inflate.GROWN


def test_a_damaged_member_is_refused_by_its_crc(kitchen):
    def change(data, infos):
        at = data.index(NOISE[100:120])  # deflate stores noise as it is
        data[at] ^= 1

    found = {e.path.rsplit("/", 1)[-1]: e for e in read(kitchen, spoiled(kitchen, change))}
    with pytest.raises(IntegrityError, match=r"small-2\.0-py3-none-any\.whl: other\.py: .*CRC"):
        list(chunks(found["other.py"].source))
    assert b"".join(chunks(found["small.py"].source)) == b"y = 2\n" * 50


def test_a_member_that_cannot_be_inflated_is_refused(kitchen):
    def change(data, infos):
        info = infos["small.py"]
        start = info.header_offset + 30 + len("small.py")
        data[start : start + info.compress_size] = b"\xff" * info.compress_size

    found = {e.path.rsplit("/", 1)[-1]: e for e in read(kitchen, spoiled(kitchen, change))}
    with pytest.raises(IntegrityError, match=r"small\.py: cannot inflate"):
        list(chunks(found["small.py"].source))


def _directory(field: int, value: bytes):
    """Overwrite a field of small.py's entry in the archive's directory."""

    def change(data, infos):
        at = data.index(b"small.py", infos["other.py"].header_offset) - 46
        assert data[at : at + 4] == b"PK\x01\x02"
        data[at + field : at + field + len(value)] = value

    return change


def _own(field: int, value: bytes):
    """Overwrite a field of small.py's own header."""

    def change(data, infos):
        at = infos["small.py"].header_offset
        data[at + field : at + field + len(value)] = value

    return change


def test_a_member_that_ends_too_early_is_refused(kitchen):
    wheel = spoiled(kitchen, _directory(20, struct.pack("<L", 5)))
    found = {e.path.rsplit("/", 1)[-1]: e for e in read(kitchen, wheel)}
    with pytest.raises(IntegrityError, match=r"small\.py: truncated"):
        list(chunks(found["small.py"].source))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_own(30, b"evils.py"), r"local header contradicts the directory: name 'evils\.py'"),
        (_own(8, struct.pack("<H", 0)), "compression method 0"),
        (_own(0, b"EVIL"), "local header not found"),
        (_directory(20, struct.pack("<L", 400)), "overlaps another member"),
        (_directory(42, struct.pack("<L", 1 << 30)), "local header not found"),
        (_directory(20, struct.pack("<L", 1 << 30)), "overlaps the zip's central directory"),
    ],
    ids=["name", "method", "signature", "overlap", "outside", "beyond the end"],
)
def test_a_directory_that_contradicts_its_members_is_refused(kitchen, change, why):
    with pytest.raises(IntegrityError, match=why):
        read(kitchen, spoiled(kitchen, change))


def test_a_last_member_that_runs_into_the_directory_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.py", b"1")
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 20 : at + 24] = struct.pack("<L", 60)
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="overlaps the zip's central directory"):
        located(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_deflate_is_a_compression(tmp_path, method):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.py", b"1")
    with pytest.raises(IntegrityError, match=f"compression method {method}"):
        located(path)


def test_a_member_that_inflates_to_more_than_it_says_stops_there(kitchen, tmp_path):
    from kit.image.entry import ArchiveEntry, EntryKind
    from kit.image.tarball import stream_tar

    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(200 << 20))
    [part] = located(path).values()
    entry = ArchiveEntry("zeros", EntryKind.FILE, 0o644, "bomb.whl", 10, part)
    written = 0
    with pytest.raises(IntegrityError, match=r"bomb\.whl: size mismatch in zeros"):
        for piece in stream_tar([entry], 0):
            written += len(piece)
    assert written <= inflate.GROWN + 1024
