"""
Select the audits of one evaluation, and make those that need no further run.

Judging is `kit.audit`'s; further runs of guests are `kit.evaluate.reruns`'.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from kit.audit import evidence, floor, trace
from kit.audit.finding import Finding
from kit.audit.source import SourceFile
from kit.core.digest import sha256_bytes
from kit.core.errors import DigestMismatch, UsageError
from kit.evaluate.prepare import Prepared
from kit.evaluate.start_script import files_of, source_findings
from kit.sandbox.folder import RunFolder
from kit.values.log import read_run
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
    """The audits to make, and the seed of their streams. The result reveals the seed."""

    audits: frozenset[RerunAudit] = frozenset()
    seed: str = field(default_factory=lambda: secrets.token_hex(8))

    def has(self, *audits: RerunAudit) -> bool:
        """Tell whether one of these audits is selected."""
        return not self.audits.isdisjoint(audits)


def select_audits(names: Iterable[str], seed: str | None = None) -> AuditSelection:
    """Return the audits called by these names. Raises `UsageError` for an unknown one."""
    selected: set[RerunAudit] = set()
    for name in names:
        if name in GROUPS:
            selected.update(GROUPS[name])
        elif name in frozenset(RerunAudit):
            selected.add(RerunAudit(name))
        else:
            known = ", ".join([*GROUPS, *RerunAudit])
            raise UsageError(f"unknown audit {name!r}", f"choose one of: {known}")
    return AuditSelection(frozenset(selected)) if seed is None else AuditSelection(frozenset(selected), seed)


def static_findings(
    ready: Prepared, folder: RunFolder, result: RunResult, baseline: tuple[SourceFile, ...] | None
) -> tuple[Finding, ...]:
    """
    Return the findings of the checks that need no further run.

    Raises `DigestMismatch` if the submission's files in the run's folder are not those that ran.
    """
    terms = ready.plan.terms
    points: tuple[Point, ...] = read_run(folder.log, folder.stamps, terms.grammar)
    return (
        floor.check(result.points, terms.floor),
        *evidence.judge(points, terms.cadence),
        *trace.judge(points, terms.untimed_steps, terms.vocabulary, terms.cadence.training_every or 1),
        *source_findings(_submission(ready, folder), baseline),
    )


def _submission(ready: Prepared, folder: RunFolder) -> tuple[SourceFile, ...]:
    """Read the submission's files, and compare their digests with those that were prepared."""
    files = files_of(folder.submission)
    if {f.name: sha256_bytes(f.data) for f in files} != {f.name: f.sha256 for f in ready.files}:
        raise DigestMismatch(f"{folder.submission} was changed during the run")
    return files
