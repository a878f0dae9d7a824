"""Install wheels as archive entries, with the semantics of PyPA's installer. Runs no code of a wheel."""

from __future__ import annotations

import base64
import configparser
import contextlib
import csv
import hashlib
import io
import posixpath
import re
import stat
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path
from zipfile import BadZipFile, ZipFile, ZipInfo

from installer.records import InvalidRecordEntry, parse_record_file
from installer.utils import canonicalize_name

from kit.core.errors import IntegrityError
from kit.image.entry import MAX_FILE, ArchiveEntry, EntryKind, InlineBytes, literal, plain_path, refusal
from kit.image.inflate import ZipMember, packed_members
from kit.image.lock import Wheel

MAX_DATA = 16 << 30
"""Bytes that a wheel may unpack to; and, beyond 64 MiB, `MAX_RATIO` times its own size."""
MAX_RATIO = 100
MAX_MEMBERS = 200_000

_SCRIPT = """\
#!/usr/bin/python3
import sys

from {module} import {first}

if __name__ == "__main__":
    sys.exit({attribute}())
"""


_NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_ENTRY_POINT = re.compile(rf"({_NAME})\s*:\s*({_NAME})\s*(?:\[.*\])?")


@dataclass(frozen=True, slots=True)
class WheelPaths:
    """Install directories of a wheel, relative to the root; Debian's Python searches `site` first."""

    site: str
    scripts: str
    headers: str
    data: str


def places(python: str) -> WheelPaths:
    """Return the install directories for CPython `python`, for example `3.11`."""
    return WheelPaths(
        site=f"usr/local/lib/python{python}/dist-packages",
        scripts="usr/local/bin",
        headers=f"usr/local/include/python{python}",
        data="usr/local",
    )


def read_wheel(wheel: Wheel, path: Path, python: str) -> list[ArchiveEntry]:
    """
    Return the entries that installing a wheel writes; their bytes stay in the file.

    Raises `IntegrityError` if the file is not a wheel of major version 1, for a member that is not in
    RECORD, for hostile members (absolute, `..`, links, duplicates) and for archives that unpack to far
    more than their size. The RECORD's hashes are not checked: the lock's sha256 covers the whole file.
    """
    with _opened(wheel, path) as (archive, members, packed):
        return _install(wheel, archive, members, packed, places(python))


def read_members(wheel: Wheel, path: Path, paths: Mapping[str, str]) -> list[ArchiveEntry]:
    """
    Return the entries for single members of a wheel that is not installed: member -> path in the image.

    Raises `IntegrityError` for a member that the wheel does not have, and as `read_wheel` does.
    """
    with _opened(wheel, path) as (_, members, packed):
        absent = sorted(paths.keys() - members.keys())
        if absent:
            raise IntegrityError(
                f"{wheel.name} has no file {', '.join(absent)}", "correct [[wheels.extract]] in image.toml"
            )
        return [
            ArchiveEntry(
                plain_path(to, wheel.name),
                EntryKind.FILE,
                0o755 if (members[name].external_attr >> 16) & 0o111 else 0o644,
                wheel.name,
                members[name].file_size,
                packed[name],
            )
            for name, to in sorted(paths.items())
        ]


@contextlib.contextmanager
def _opened(wheel: Wheel, path: Path) -> Iterator[tuple[ZipFile, dict[str, ZipInfo], dict[str, ZipMember]]]:
    """Open a wheel and locate its members; turn every error of a malformed archive into `IntegrityError`."""
    try:
        with ZipFile(path) as archive:
            members = _members(wheel, archive)
            yield archive, members, packed_members(archive, path, list(members.values()), wheel.name)
    except (
        BadZipFile,
        InvalidRecordEntry,
        configparser.Error,
        ValueError,
        NotImplementedError,
        KeyError,
        EOFError,
        OSError,
        OverflowError,
        csv.Error,
        struct.error,
        zlib.error,
    ) as e:
        raise IntegrityError(
            f"{wheel.name} is not a valid wheel: {str(e)[:200]}", "download the wheel again"
        ) from e


def _members(wheel: Wheel, archive: ZipFile) -> dict[str, ZipInfo]:
    members: dict[str, ZipInfo] = {}
    total = 0
    for info in archive.infolist():
        if info.is_dir():
            continue
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG) or info.flag_bits & 1 or info.file_size > MAX_FILE:
            raise refusal(wheel.name, info.filename, "not a regular file of valid size")
        path = info.filename
        if path in members:
            raise refusal(wheel.name, path, "two members have this name")
        members[path] = info
        total += info.file_size
    limit = min(MAX_DATA, max(64 << 20, MAX_RATIO * wheel.size))
    if total > limit or len(members) > MAX_MEMBERS:
        raise refusal(wheel.name, "the archive", f"it unpacks to {total} bytes in {len(members)} files")
    return members


def _install(
    wheel: Wheel,
    archive: ZipFile,
    members: dict[str, ZipInfo],
    packed: dict[str, ZipMember],
    where: WheelPaths,
) -> list[ArchiveEntry]:
    info_folder = _info_folder(wheel, members)
    data_folder = info_folder.removesuffix(".dist-info") + ".data"
    metadata = Parser().parsestr(archive.read(f"{info_folder}/WHEEL").decode("utf-8"))
    if str(metadata.get("Wheel-Version", "")).split(".")[0] != "1":
        raise IntegrityError(
            f"{wheel.name}: unsupported wheel version {metadata.get('Wheel-Version')}",
            "use a wheel of version 1",
        )
    rows = {
        row[0]: row
        for row in parse_record_file(archive.read(f"{info_folder}/RECORD").decode("utf-8").splitlines())
    }
    entries: dict[str, ArchiveEntry] = {}
    record: list[tuple[str, str, str]] = []
    dropped = {f"{info_folder}/{name}" for name in ("INSTALLER", "REQUESTED", "direct_url.json", "RECORD")}
    dropped |= {f"{info_folder}/RECORD.{suffix}" for suffix in ("jws", "p7s")}
    for name, info in members.items():
        if name in dropped or name.endswith(".pyc"):
            continue
        if name not in rows:
            raise refusal(wheel.name, name, "missing from RECORD")
        entry = _place(wheel, archive, info, packed[name], data_folder, where)
        _add(entries, entry)
        hash_and_size = (
            _hashed(entry) if isinstance(entry.source, InlineBytes) else (rows[name][1], str(info.file_size))
        )
        record.append((_recorded(entry.path, where), *hash_and_size))
    for entry in _scripts(wheel, archive, f"{info_folder}/entry_points.txt", members, where):
        _add(entries, entry)
        record.append((_recorded(entry.path, where), *_hashed(entry)))
    own = f"{where.site}/{info_folder}/RECORD"
    record.append((_recorded(own, where), "", ""))
    _add(entries, literal(own, _rows(record), wheel.name))
    return list(entries.values())


def _info_folder(wheel: Wheel, members: dict[str, ZipInfo]) -> str:
    """Return the one .dist-info directory; its name must match the lock's project and version."""
    folders = {name.split("/")[0] for name in members if name.split("/")[0].endswith(".dist-info")}
    if len(folders) == 1:
        name = folders.pop()
        project, _, version = name.removesuffix(".dist-info").partition("-")
        if (canonicalize_name(project), version) == (wheel.project, wheel.version):
            return name
        raise IntegrityError(
            f"{wheel.name} contains {project} {version}, but lock.json names {wheel.project} {wheel.version}",
            "resolve the packages again: speedrun image lock ERA",
        )
    raise IntegrityError(
        f"{wheel.name}: expected 1 .dist-info directory, got {len(folders)}", "download the wheel again"
    )


def _place(
    wheel: Wheel, archive: ZipFile, info: ZipInfo, packed: ZipMember, data_folder: str, where: WheelPaths
) -> ArchiveEntry:
    name = info.filename
    mode = 0o755 if (info.external_attr >> 16) & 0o111 else 0o644
    root, rest = where.site, name
    if name.startswith(f"{data_folder}/"):
        scheme, _, rest = name.removeprefix(f"{data_folder}/").partition("/")
        match scheme:
            case "purelib" | "platlib":
                root = where.site
            case "scripts":
                data = archive.read(info)
                if data.startswith(b"#!python"):
                    data = b"#!/usr/bin/python3\n" + data.partition(b"\n")[2]
                return literal(_below(where.scripts, rest, wheel), data, wheel.name, 0o755)
            case "data":
                root = where.data
            case "headers":
                root = f"{where.headers}/{wheel.project}"
            case _:
                raise refusal(wheel.name, name, f"unknown scheme {scheme!r}")
    return ArchiveEntry(_below(root, rest, wheel), EntryKind.FILE, mode, wheel.name, info.file_size, packed)


def _below(root: str, name: str, wheel: Wheel) -> str:
    if not name or plain_path(name, wheel.name) != name:
        raise refusal(wheel.name, name, "path is not normalized")
    return f"{root}/{name}"


def _scripts(
    wheel: Wheel, archive: ZipFile, listed: str, members: dict[str, ZipInfo], where: WheelPaths
) -> Iterator[ArchiveEntry]:
    if listed not in members:
        return
    points = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    points.optionxform = str  # type: ignore[assignment,method-assign]
    points.read_string(archive.read(listed).decode("utf-8"))
    for section in ("console_scripts", "gui_scripts"):
        for name, value in points.items(section) if points.has_section(section) else ():
            parts = _ENTRY_POINT.fullmatch(value)
            if parts is None or "/" in name or not name.isprintable():
                raise refusal(wheel.name, f"{name} = {value}", "invalid script name or entry point")
            module, attribute = parts.groups()
            text = _SCRIPT.format(module=module, first=attribute.split(".")[0], attribute=attribute)
            yield literal(f"{where.scripts}/{name}", text.encode(), wheel.name, 0o755)


def _add(entries: dict[str, ArchiveEntry], entry: ArchiveEntry) -> None:
    if entry.path in entries:
        raise refusal(entry.origin, entry.path, "two members install to this path")
    entries[entry.path] = entry


def _recorded(path: str, where: WheelPaths) -> str:
    return posixpath.relpath(path, where.site)


def _hashed(entry: ArchiveEntry) -> tuple[str, str]:
    data = entry.source.data if isinstance(entry.source, InlineBytes) else b""
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"sha256={digest}", str(len(data))


def _rows(record: list[tuple[str, str, str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=",", quotechar='"', lineterminator="\n").writerows(sorted(record))
    return out.getvalue().encode()
