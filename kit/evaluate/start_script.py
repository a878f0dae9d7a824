"""The start record's own script: what runs without a submission, and what a submission is compared with."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kit.audit import source
from kit.audit.finding import Finding
from kit.audit.parsing import ParsedFile, SourceFile, parse_files
from kit.benchmark import records
from kit.benchmark.records import Record
from kit.benchmark.submission import ENTRIES, ENTRY, RUN_TOML
from kit.core.digest import Sha256, sha256_bytes, sha256_file, tree_digest
from kit.core.errors import KitError
from kit.core.facts import guest_file
from kit.core.store import Artifact
from kit.evaluate.request import Places
from kit.values.task_id import is_smoke

REFERENCE = guest_file("train_reference.py")
"""The trainer of the smoke profile."""


class StartScript(Protocol):
    """The script that a profile runs if no submission is given."""

    @property
    def entry(self) -> str:
        """The file that torchrun starts."""

    @property
    def args(self) -> tuple[str, ...]:
        """Its arguments."""

    @property
    def digest(self) -> Sha256:
        """Tree digest of its files, which need not be fetched."""

    @property
    def to_fetch(self) -> tuple[Artifact, ...]:
        """The artifacts to fetch for it, unless they are in the store."""

    @property
    def compiles(self) -> bool:
        """Whether it may compile code where its profile runs, and so leave a compile cache."""

    def write(self, folder: Path, places: Places) -> None:
        """Write its files into an empty directory. Raises what fetching raises."""

    def files(self, places: Places) -> tuple[SourceFile, ...] | None:
        """Return its files, sorted by name; None if they cannot be fetched."""


@dataclass(frozen=True, slots=True)
class ReferenceTrainer:
    """The kit's own trainer, with the arguments of the smoke profile."""

    args: tuple[str, ...]
    entry: str = ENTRY
    to_fetch: tuple[Artifact, ...] = ()
    compiles: bool = False
    """On CPUs it does not."""

    @property
    def digest(self) -> Sha256:
        """See `StartScript.digest`."""
        arguments = records.run_toml(self.args)
        return tree_digest({self.entry: sha256_file(REFERENCE), RUN_TOML: sha256_bytes(arguments)})

    def write(self, folder: Path, places: Places) -> None:
        """See `StartScript.write`."""
        shutil.copyfile(REFERENCE, folder / self.entry)
        (folder / RUN_TOML).write_bytes(records.run_toml(self.args))
        for name in (self.entry, RUN_TOML):
            (folder / name).chmod(0o444)

    def files(self, places: Places) -> tuple[SourceFile, ...]:
        """See `StartScript.files`."""
        arguments = records.run_toml(self.args)
        return (SourceFile(self.entry, REFERENCE.read_bytes()), SourceFile(RUN_TOML, arguments))


@dataclass(frozen=True, slots=True)
class RecordScript:
    """A record's own script, pinned by sha256; upstream's also by commit."""

    record: Record

    @property
    def entry(self) -> str:
        """See `StartScript.entry`."""
        return self.record.script.entry

    @property
    def args(self) -> tuple[str, ...]:
        """See `StartScript.args`."""
        return self.record.script.args

    @property
    def digest(self) -> Sha256:
        """See `StartScript.digest`."""
        return records.own_digest(self.record)

    @property
    def to_fetch(self) -> tuple[Artifact, ...]:
        """See `StartScript.to_fetch`."""
        return tuple(Artifact(o.path, o.size, o.sha256) for o in self.record.script.origins)

    @property
    def compiles(self) -> bool:
        """See `StartScript.compiles`: upstream's scripts may, those of the smoke records do not."""
        return not is_smoke(self.record.name)

    def write(self, folder: Path, places: Places) -> None:
        """See `StartScript.write`."""
        shutil.copytree(self._fetched(places), folder, dirs_exist_ok=True)

    def files(self, places: Places) -> tuple[SourceFile, ...] | None:
        """See `StartScript.files`."""
        try:
            return files_of(self._fetched(places))
        except KitError:
            return None

    def _fetched(self, places: Places) -> Path:
        sources = script_sources(places)
        return records.fetch_script(self.record, places.store, sources, places.progress)


def script_sources(places: Places) -> records.Sources:
    """Return the sources of scripts that the store lacks: a local clone, else https; none if offline."""
    if places.offline and places.upstream is None:
        return records.nowhere
    return records.sources(places.upstream)


def files_of(folder: Path) -> tuple[SourceFile, ...]:
    """Read the files of a submission's directory, sorted by name."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    return tuple(SourceFile(p.relative_to(folder).as_posix(), p.read_bytes()) for p in paths)


def source_findings(files: Sequence[SourceFile], start: tuple[SourceFile, ...] | None) -> tuple[Finding, ...]:
    """Judge what a submission adds to its start script; the kit's own trainer adds nothing to itself."""
    return parsed_findings(() if start is None else parse_files(files), start)


def parsed_findings(files: Sequence[ParsedFile], start: tuple[SourceFile, ...] | None) -> tuple[Finding, ...]:
    """Judge a submission that is already parsed, as `source_findings` does."""
    own = REFERENCE.read_bytes()
    kept = {p.file.name for p in files if p.file.name in ENTRIES and p.file.data == own}
    if start is not None and kept:
        start = tuple(SourceFile(f.name, own) if f.name in kept else f for f in start)
    return source.judge_parsed(files, start)
