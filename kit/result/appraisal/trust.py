"""
The trust tier that a reader derives from a verified bundle. No bundle carries one; nothing is verified here.

A tier names the checks that must have passed. Which of them cannot apply is said by the bundle's `evidence`,
which the kit fills from the record's file; a check that says so itself is skipped, and earns nothing. Results
of version 0.1 are judged by the first rules, which only asked that some check of each family ran.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kit.result.predicate import AuditCheck, Isolation, Outcome, Predicate, Severity
from kit.values.profile import Profile

TIER_RULES = 2
"""Version of the rules by which new results are judged; those of version 0.1 are judged by version 1."""
FIRST_RULES = 1
CANARY_TO_END = "canary.to_end"
"""The canary that counts: the same script ran to its last step. Its shorter forms are screens."""
SELECTION = "source.selection"
"""Leaving a few losses out is what a canary is blind to; a script may do it in training alone, though."""
HELD_OUT = "held_out"
ALLOWED = "source.allowed"
FLOOR = "floor"
EXCESS = "baseline.excess"

SOURCE_PASSED = (
    "source.parse", "source.data", "source.patch", "source.claim", "source.output", "source.network",
    "source.process", "source.dynamic", "source.weights", "source.compiler", "source.blob", "source.files",
    "source.characters",
)  # fmt: skip
SOURCE_JUDGED = ("source.lines", "source.timer", "source.surroundings", SELECTION, "source.size")
"""Warnings: they must have looked, and may have found something for a reviewer."""
TIME_PASSED = (
    "evidence.last_step", "evidence.training_lines", "evidence.validation_lines", "evidence.times",
    "trace.clock", "trace.pace", "trace.monotone",
)  # fmt: skip
"""Without these, nothing proves the steps and the time of a run: it is not ranked either."""
SCREENED_PASSED = (*TIME_PASSED, "trace.first_loss", *SOURCE_PASSED)
SCREENED_JUDGED = ("trace.cadence", "trace.shape", *SOURCE_JUDGED)
CANARY_PASSED = (CANARY_TO_END, SELECTION, ALLOWED)
HELD_OUT_PASSED = (HELD_OUT,)
NEED_A_GUEST_CLOCK = ("trace.clock", "trace.pace")
"""They compare two clocks. Where the record's script prints none, the host's is the time."""
NEED_TRAINING_LINES = ("evidence.training_lines", "trace.pace")
"""Where the record's script prints none, `EXCESS` must have passed in their place."""


class Tier(StrEnum):
    """How much stands behind a claim, from least to most. `reproduced` needs a second bundle."""

    SELF_REPORTED = "self-reported"
    SCREENED = "screened"
    CANARY = "canary"
    CANARY_HELD_OUT = "canary + held-out"


@dataclass(frozen=True, slots=True)
class TierAssessment:
    """A tier, and what keeps the result from the next one."""

    tier: Tier
    missing: str
    """For a person, in the reader's own words; empty at the top."""
    said: str = ""
    """What the signer says of the check that came to nothing: his word alone."""


def assess_tier(predicate: Predicate, trusted: bool) -> TierAssessment:
    """
    Return the tier of a verified result; `trusted` says whether its signer's key is the reader's choice.

    It binds the guest, not the operator: whoever owns key and clock can make up a bundle of any tier. Only
    another trusted key's reproduction is evidence against him.
    """
    missing = _missing_for_any(predicate, trusted)
    if missing:
        return TierAssessment(Tier.SELF_REPORTED, missing)
    match predicate.audit.tier_rules:
        case 1:
            return _by_first_rules(predicate)
        case 2:
            return _by_second_rules(predicate)
        case other:
            return TierAssessment(
                Tier.SELF_REPORTED, f"version {other} of the tier rules is unknown to this version of the kit"
            )


def missing_evidence(predicate: Predicate) -> str:
    """Return what keeps a result's steps and time from being proved, for a person; empty if nothing does."""
    if predicate.audit.tier_rules == FIRST_RULES:
        return ""
    return ": ".join(_missing_lines(predicate) or _first_missing(predicate, TIME_PASSED))


def _missing_for_any(predicate: Predicate, trusted: bool) -> str:
    if not trusted:
        return "the signer's key is not trusted"
    if predicate.environment.isolation.level is not Isolation.CONTAINED:
        return f"isolation is {predicate.environment.isolation.level}: the guest could reach the host's clock"
    return ""


def _by_second_rules(predicate: Predicate) -> TierAssessment:
    floor = (FLOOR,) if predicate.task.profile is Profile.SMOKE else ()
    if failed := _failed_fatally(predicate):
        return TierAssessment(Tier.SELF_REPORTED, failed)
    missing = (
        _missing_lines(predicate)
        or _first_missing(predicate, SCREENED_PASSED)
        or _first_missing(predicate, SCREENED_JUDGED, (Outcome.PASSED, Outcome.FAILED))
    )
    if missing:
        return TierAssessment(Tier.SELF_REPORTED, *missing)
    if missing := _first_missing(predicate, (*floor, *CANARY_PASSED)):
        return TierAssessment(Tier.SCREENED, *missing)
    if missing := _first_missing(predicate, HELD_OUT_PASSED):
        return TierAssessment(Tier.CANARY, *missing)
    return TierAssessment(Tier.CANARY_HELD_OUT, "")


def _missing_lines(predicate: Predicate) -> tuple[str, ...]:
    """Compare the lines that were counted with those that were owed, whatever the checks say."""
    lines = predicate.evidence.training_lines
    if lines.expected is not None and lines.seen < lines.expected:
        return (f"it printed {lines.seen} of {lines.expected} training lines",)
    return ()


def _required(predicate: Predicate, names: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out the checks that the record's own script makes impossible, and put others in their place."""
    excused: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()
    if not predicate.evidence.guest_clock:
        excused += NEED_A_GUEST_CLOCK
    if predicate.evidence.training_lines.expected is None:
        excused += NEED_TRAINING_LINES
        instead = (EXCESS,) if set(names) & set(NEED_TRAINING_LINES) else ()
    return (*(name for name in names if name not in excused), *instead)


def _first_missing(
    predicate: Predicate, names: tuple[str, ...], earning: tuple[Outcome, ...] = (Outcome.PASSED,)
) -> tuple[str, ...]:
    """
    Tell of the first of these checks that is absent or came to nothing that earns a tier.

    Returns what keeps the tier away, for a person, and what the signer says of it; nothing if nothing does.
    """
    for name in _required(predicate, names):
        ran = [c for c in predicate.audit.checks if _is_named(c, name)]
        if not ran:
            return (f"the check {name} did not run",)
        for check in ran:
            if check.outcome not in earning:
                how = "failed" if check.outcome is Outcome.FAILED else "was skipped"
                return f"the check {check.id} {how}", check.detail
    return ()


def _by_first_rules(predicate: Predicate) -> TierAssessment:
    checks = predicate.audit.checks
    missing = _missing_for_screened_by_first_rules(predicate)
    if missing:
        return TierAssessment(Tier.SELF_REPORTED, missing)
    if not any(_is_named(c, CANARY_TO_END) and c.outcome is Outcome.PASSED for c in checks):
        return TierAssessment(Tier.SCREENED, "no canary ran to the end and passed")
    if any(_is_named(c, SELECTION) and c.outcome is Outcome.FAILED for c in checks):
        return TierAssessment(Tier.SCREENED, "the script picks among its losses, which a canary may not see")
    if not any(_is_named(c, SELECTION) and c.outcome is Outcome.PASSED for c in checks):
        return TierAssessment(
            Tier.SCREENED, f"{SELECTION}, which looks for what a canary may not see, did not run"
        )
    if not any(_is_named(c, HELD_OUT) and c.outcome is Outcome.PASSED for c in checks):
        return TierAssessment(Tier.CANARY, "no held-out window was tried and passed")
    return TierAssessment(Tier.CANARY_HELD_OUT, "")


def _missing_for_screened_by_first_rules(predicate: Predicate) -> str:
    for family in ("source", "trace"):
        if not any(_is_named(c, family) and c.outcome is not Outcome.SKIPPED for c in predicate.audit.checks):
            return f"no {family} check ran"
    return _failed_fatally(predicate)


def _failed_fatally(predicate: Predicate) -> str:
    checks = predicate.audit.checks
    failed = [c.id for c in checks if c.severity is Severity.FATAL and c.outcome is Outcome.FAILED]
    return f"the check {failed[0]} failed" if failed else ""


def _is_named(check: AuditCheck, name: str) -> bool:
    return check.id == name or check.id.startswith(f"{name}.")
