"""
The trust tier that a reader derives from a verified bundle. No bundle carries one; nothing is verified here.

A check's family is the part of its id before the first dot: `source`, `trace`, `canary`, `held_out`. Only
checks that ran count, so leaving checks out can only lower the tier.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kit.result.predicate import AuditCheck, Isolation, Outcome, Predicate, Severity

TIER_RULES = 2
"""Version of the rules by which new results are judged; those of version 0.1 are judged by version 1."""
CANARY_TO_END = "canary.to_end"
"""The canary that counts: the same script ran to its last step. Its shorter forms are screens."""
SELECTION = "source.selection"
"""Leaving a few losses out is what a canary is blind to; a script may do it in training alone, though."""
HELD_OUT = "held_out"


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
    """For a person; empty at the top."""


def assess_tier(predicate: Predicate, trusted: bool) -> TierAssessment:
    """
    Return the tier of a verified result; `trusted` says whether its signer's key is the reader's choice.

    It binds the guest, not the operator: whoever owns key and clock can make up a bundle of any tier. Only
    another trusted key's reproduction is evidence against him.
    """
    checks = predicate.audit.checks
    missing = _missing_for_screened(predicate, trusted)
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


def _missing_for_screened(predicate: Predicate, trusted: bool) -> str:
    if not trusted:
        return "the signer's key is not trusted"
    if predicate.environment.isolation.level is not Isolation.CONTAINED:
        return f"isolation is {predicate.environment.isolation.level}: the guest could reach the host's clock"
    checks = predicate.audit.checks
    for family in ("source", "trace"):
        if not any(_is_named(c, family) and c.outcome is not Outcome.SKIPPED for c in checks):
            return f"no {family} check ran"
    failed = [c.id for c in checks if c.severity is Severity.FATAL and c.outcome is Outcome.FAILED]
    return f"the check {failed[0]} failed" if failed else ""


def _is_named(check: AuditCheck, name: str) -> bool:
    return check.id == name or check.id.startswith(f"{name}.")
