"""Read and write images/<era>/lock.json. `kit.image.resolve` makes new locks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.core.digest import Sha256, sha256_bytes
from kit.core.errors import PrerequisiteError, SchemaError, StaleLock
from kit.core.files import write_atomic
from kit.core.schema import parse_json, read_bounded, validate
from kit.core.store import Artifact
from kit.image.spec import EraSpec

FORMAT = "speedrun-kit/lock.v1"


@dataclass(frozen=True, slots=True)
class Wheel(Artifact):
    """A wheel, identified by digest; `name` is its file name."""

    project: str
    """Canonical name: lower case, runs of `-_.` as one `-`."""
    version: str
    url: str | None = None
    """Set only for a wheel that is not on the general index."""


@dataclass(frozen=True, slots=True)
class Deb(Artifact):
    """A Debian package, identified by digest; `name` is its file name in the pool."""

    package: str
    version: str
    sha1: str
    """The file's name on snapshot.debian.org. Only sha256 is checked."""
    pool: str
    """Path below a mirror's root."""


@dataclass(frozen=True, slots=True)
class PlainFile(Artifact):
    """A file that is in no package, identified by digest; `name` is the last part of its URL."""

    url: str


@dataclass(frozen=True, slots=True)
class Lock:
    """All files of an image, by digest. Contains no registry location."""

    era: str
    image_toml_sha256: Sha256
    debs: tuple[Deb, ...]
    wheels: tuple[Wheel, ...]
    sha256: Sha256
    """sha256 of lock.json's bytes."""
    files: tuple[PlainFile, ...] = ()

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """All files, debs first."""
        return (*self.debs, *self.wheels, *self.files)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(a.size for a in self.artifacts)


def lock_path(spec: EraSpec) -> Path:
    """Return the path of the era's lock, which need not exist."""
    return spec.source.with_name("lock.json")


def read_lock(spec: EraSpec) -> Lock:
    """
    Read the lock that belongs to `spec`.

    Raises `PrerequisiteError` if there is none, `StaleLock` if it was made from another version of
    image.toml, `SchemaError` if it is malformed or too large. Does not check that the artifacts exist.
    """
    path = lock_path(spec)
    command = f"speedrun image lock {spec.era}"
    try:
        data = read_bounded(path)
    except FileNotFoundError as e:
        raise PrerequisiteError(f"{path} does not exist", command) from e
    lock = parse_lock(data, str(path))
    if lock.era != spec.era:
        raise SchemaError(f"{path} is the lock of era {lock.era!r}, expected {spec.era!r}", command)
    if lock.image_toml_sha256 != spec.sha256:
        raise StaleLock(
            f"{path} is stale: it was made from another version of {spec.source}"
            f" (sha256 {lock.image_toml_sha256[:12]}…, now {spec.sha256[:12]}…)",
            command,
        )
    return lock


def parse_lock(data: bytes, where: str) -> Lock:
    """
    Parse lock.json's bytes.

    Raises `SchemaError` naming `where` if it is malformed, or if two entries share a name or a file name.
    """
    document = parse_json(data, where)
    validate("lock.v1", document, where)
    lock = Lock(
        era=document["era"],
        image_toml_sha256=Sha256(document["image_toml_sha256"]),
        debs=tuple(_deb(d) for d in document["debs"]),
        wheels=tuple(_wheel(w) for w in document["wheels"]),
        sha256=sha256_bytes(data),
        files=tuple(_file(f) for f in document.get("files", ())),
    )
    _refuse_duplicates([d.package for d in lock.debs], where)
    _refuse_duplicates([w.project for w in lock.wheels], where)
    _refuse_duplicates([a.name for a in lock.artifacts], where)
    return lock


def render_lock(spec: EraSpec, debs: tuple[Deb, ...], wheels: tuple[Wheel, ...]) -> bytes:
    """Return lock.json's bytes: entries sorted by name, in one fixed format; files are those of the spec."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "era": spec.era,
        "image_toml_sha256": spec.sha256,
        "debs": [_deb_json(d) for d in sorted(debs, key=lambda d: d.package)],
        "wheels": [_wheel_json(w) for w in sorted(wheels, key=lambda w: w.project)],
    }
    if spec.files:
        files = [PlainFile(f.name, f.size, f.sha256, f.url) for f in spec.files]
        document["files"] = [_file_json(f) for f in sorted(files, key=lambda f: f.name)]
    validate("lock.v1", document, f"the new lock of {spec.era}")
    return (json.dumps(document, indent=1, ensure_ascii=True) + "\n").encode("ascii")


def write_lock(spec: EraSpec, debs: tuple[Deb, ...], wheels: tuple[Wheel, ...]) -> Lock:
    """Write the era's lock.json atomically, and return the lock."""
    data = render_lock(spec, debs, wheels)
    path = lock_path(spec)
    lock = parse_lock(data, str(path))
    write_atomic(path, data)
    return lock


def _refuse_duplicates(names: list[str], where: str) -> None:
    previous: set[str] = set()
    for name in names:
        if name in previous:
            raise SchemaError(f"{where}: {name} is listed twice")
        previous.add(name)


def _deb(d: dict[str, Any]) -> Deb:
    return Deb(d["file"], d["size"], Sha256(d["sha256"]), d["name"], d["version"], d["sha1"], d["pool"])


def _wheel(w: dict[str, Any]) -> Wheel:
    return Wheel(w["file"], w["size"], Sha256(w["sha256"]), w["name"], w["version"], w.get("url"))


def _file(f: dict[str, Any]) -> PlainFile:
    return PlainFile(f["file"], f["size"], Sha256(f["sha256"]), f["url"])


def _file_json(f: PlainFile) -> dict[str, Any]:
    return {"file": f.name, "size": f.size, "sha256": f.sha256, "url": f.url}


def _deb_json(d: Deb) -> dict[str, Any]:
    return {
        "name": d.package, "version": d.version, "file": d.name, "size": d.size,
        "sha256": d.sha256, "sha1": d.sha1, "pool": d.pool,
    }  # fmt: skip


def _wheel_json(w: Wheel) -> dict[str, Any]:
    entry = {"name": w.project, "version": w.version, "file": w.name, "size": w.size, "sha256": w.sha256}
    return entry if w.url is None else {**entry, "url": w.url}
