"""
The audits of one evaluation: which are wanted, and the findings of those that need no further run.

Judging is `kit.audit`'s; further runs of guests are `kit.evaluate.reruns`'.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from kit.audit import floor, source, trace
from kit.audit.finding import Finding
from kit.audit.source import SourceFile
from kit.benchmark import records
from kit.benchmark.records.script import RUN_TOML
from kit.benchmark.submission import ENTRY
from kit.core.errors import KitError, UsageError
from kit.data.canary_streams import VOCABULARY
from kit.evaluate.plan import REFERENCE, RunPlan
from kit.evaluate.prepare import Prepared, script_sources
from kit.evaluate.request import Places
from kit.sandbox.folder import RunFolder
from kit.values.log import read_run
from kit.values.profile import Profile
from kit.values.run_result import Point, RunResult


class RerunAudit(StrEnum):
    """An audit that takes further runs of guests."""

    SCREEN = "screen"
    """The submission on noise, ended after its third validation line."""
    UNIFORM = "canary.uniform"
    NGRAM = "canary.ngram"
    MODEL = "canary.model"
    BASELINE = "baseline"
    """The start script on the same machine, for the rules of ranked runs."""
    HELD_OUT = "held-out"


GROUPS = {
    "canary": (RerunAudit.UNIFORM, RerunAudit.NGRAM, RerunAudit.MODEL),
    "all": (RerunAudit.UNIFORM, RerunAudit.NGRAM, RerunAudit.MODEL, RerunAudit.BASELINE, RerunAudit.HELD_OUT),
}


@dataclass(frozen=True, slots=True)
class AuditSelection:
    """The audits to make, and what chance they follow from. The seed is revealed in the result."""

    audits: frozenset[RerunAudit] = frozenset()
    seed: str = field(default_factory=lambda: secrets.token_hex(8))

    def has(self, *audits: RerunAudit) -> bool:
        """Tell whether one of them is wanted."""
        return not self.audits.isdisjoint(audits)


def select_audits(names: Iterable[str], seed: str | None = None) -> AuditSelection:
    """Return the audits called by these names. Raises `UsageError` for an unknown one."""
    found: set[RerunAudit] = set()
    for name in names:
        if name in GROUPS:
            found.update(GROUPS[name])
        elif name in frozenset(RerunAudit):
            found.add(RerunAudit(name))
        else:
            known = ", ".join([*GROUPS, *RerunAudit])
            raise UsageError(f"there is no audit {name!r}", f"choose among: {known}")
    return AuditSelection(frozenset(found)) if seed is None else AuditSelection(frozenset(found), seed)


def start_script(plan: RunPlan, places: Places) -> tuple[SourceFile, ...] | None:
    """Return the files of the start record's own script; None if they cannot be had here."""
    if plan.profile is Profile.SMOKE and plan.smoke is not None:
        arguments = records.run_toml(plan.smoke.guest.args)
        return (SourceFile(ENTRY, REFERENCE.read_bytes()), SourceFile(RUN_TOML, arguments))
    try:
        sources = script_sources(plan.record, places)
        folder = records.fetch_script(plan.record, places.store, sources, places.progress)
    except KitError:
        return None
    return files_of(folder)


def start_arguments(plan: RunPlan) -> tuple[str, ...]:
    """Return the arguments of the start record's own script."""
    return plan.smoke.guest.args if plan.smoke else plan.record.script.args


def files_of(folder: Path) -> tuple[SourceFile, ...]:
    """Read the files of a submission's folder, sorted by name."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    return tuple(SourceFile(p.relative_to(folder).as_posix(), p.read_bytes()) for p in paths)


def static_findings(
    ready: Prepared, folder: RunFolder, result: RunResult, baseline: tuple[SourceFile, ...] | None
) -> tuple[Finding, ...]:
    """Return the findings about what one run left behind."""
    plan = ready.plan
    points: tuple[Point, ...] = read_run(folder.log, folder.stamps, plan.grammar)
    return (
        floor.check(result.points, plan.smoke.floor if plan.smoke else None),
        *trace.judge(points, plan.untimed_steps, plan.smoke.guest.vocabulary if plan.smoke else VOCABULARY),
        *source_findings(files_of(folder.submission), baseline),
    )


def source_findings(
    files: tuple[SourceFile, ...], start: tuple[SourceFile, ...] | None
) -> tuple[Finding, ...]:
    """Judge what a submission adds to its start script; the kit's own trainer adds nothing to itself."""
    own = REFERENCE.read_bytes()
    if start is not None and any(f.name == ENTRY and f.data == own for f in files):
        start = tuple(SourceFile(f.name, own) if f.name == ENTRY else f for f in start)
    return source.judge(files, start)
