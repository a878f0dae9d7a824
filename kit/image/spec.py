"""Read images/<era>/image.toml into an EraSpec."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.core.digest import Sha256, sha256_bytes
from kit.core.errors import SchemaError, UsageError
from kit.core.schema import read_toml
from kit.values.fidelity import Fidelity


@dataclass(frozen=True, slots=True)
class Component:
    """One component of an image, compared with the record's original environment."""

    component: str
    version: str
    level: Fidelity
    why: str


@dataclass(frozen=True, slots=True)
class WheelMember:
    """A file of a wheel that is not installed, and its path in the image."""

    wheel: str
    """Canonical name."""
    member: str
    path: str


@dataclass(frozen=True, slots=True)
class SpecFile:
    """A file that is in no package, and its path in the image."""

    url: str
    size: int
    sha256: Sha256
    path: str

    @property
    def name(self) -> str:
        """File name: the last part of the URL."""
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class EraSpec:
    """The content of an era's image, as written in image.toml."""

    era: str
    summary: str
    epoch: int
    """Modification time of every file, in seconds since 1970. Eras that share layers have the same epoch."""
    python: str
    """Minor version of CPython, for example `3.11`."""
    requirements: tuple[str, ...]
    exclude_newer: datetime.date | None
    own_layer: tuple[str, ...]
    """Canonical names of the wheels with a separate layer, in order; the others share the last layer."""
    urls: tuple[tuple[str, str], ...]
    """Canonical name -> URL, for wheels that are not on the general index."""
    suite: str
    packages: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    fidelity: tuple[Component, ...]
    source: Path
    sha256: Sha256
    """sha256 of image.toml's bytes; a lock made from other bytes is stale."""
    extract: tuple[WheelMember, ...] = ()
    """A wheel that is named here is not installed: the image has only these files of it."""
    files: tuple[SpecFile, ...] = ()
    modules: tuple[str, ...] = ()
    """File names in kit/guest/modules."""

    @property
    def extracted(self) -> frozenset[str]:
        """Canonical names of the wheels that are not installed."""
        return frozenset(m.wheel for m in self.extract)


def eras(images: Path) -> tuple[str, ...]:
    """Return the names of the eras that have an image.toml, sorted; numbers in them by their value."""
    return tuple(sorted((p.parent.name for p in images.glob("*/image.toml")), key=_by_numbers))


def _by_numbers(era: str) -> list[str | int]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", era)]


def read_spec(images: Path, era: str) -> EraSpec:
    """
    Read one era's image.toml.

    Raises `UsageError` listing the known eras if the era is unknown, `SchemaError` if image.toml is
    malformed. Does not check that the requirements can be resolved.
    """
    known = eras(images)
    if era not in known:
        listed = ", ".join(known) or "none"
        raise UsageError(f"unknown era {era!r}", f"the known eras are: {listed}")
    path = images / era / "image.toml"
    document = read_toml(path, "image.v1")
    if document["era"] != era:
        raise SchemaError(
            f"{path}: era is {document['era']!r}, but the directory is {era!r}",
            "rename the directory, or change era in image.toml",
        )
    return _spec(document, path)


def _spec(document: dict[str, Any], path: Path) -> EraSpec:
    wheels = document["wheels"]
    return EraSpec(
        era=document["era"],
        summary=document["summary"],
        epoch=_epoch(document["epoch"], path),
        python=document["python"],
        requirements=tuple(wheels["requirements"]),
        exclude_newer=_date(wheels.get("exclude-newer"), path),
        own_layer=tuple(wheels["own-layer"]),
        urls=tuple(sorted(wheels.get("urls", {}).items())),
        suite=document["debian"]["suite"],
        packages=tuple(document["debian"]["packages"]),
        env=tuple(sorted(document["env"].items())),
        fidelity=tuple(
            Component(f["component"], f["version"], Fidelity(f["level"]), f["why"])
            for f in document["fidelity"]
        ),
        source=path,
        sha256=sha256_bytes(path.read_bytes()),
        extract=tuple(WheelMember(m["wheel"], m["member"], m["path"]) for m in wheels.get("extract", ())),
        files=tuple(
            SpecFile(f["url"], f["size"], Sha256(f["sha256"]), f["path"]) for f in document.get("files", ())
        ),
        modules=tuple(document.get("modules", ())),
    )


def _epoch(value: object, path: Path) -> int:
    if not isinstance(value, datetime.datetime) or value.utcoffset() != datetime.timedelta(0):
        raise SchemaError(f"{path}: $.epoch: not a date-time in UTC", "write it like 2026-07-11T00:00:00Z")
    if value.year < 1970:
        raise SchemaError(f"{path}: $.epoch: before 1970", "use a date-time after 1970-01-01T00:00:00Z")
    return int(value.timestamp())


def _date(value: object, path: Path) -> datetime.date | None:
    if value is None:
        return None
    if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
        raise SchemaError(f"{path}: $.wheels.exclude-newer: not a date", "write it like 2024-10-19")
    return value
