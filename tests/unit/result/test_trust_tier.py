"""The tier that a reader computes."""

from dataclasses import replace

import pytest

from kit.result.appraisal.trust import Tier, assess_tier
from kit.result.predicate import AuditCheck, Isolation, Outcome, Severity


def check(name, outcome=Outcome.PASSED, severity=Severity.FATAL):
    return AuditCheck(name, severity, outcome, "", ())


SOURCE, TRACE = check("source.selection", severity=Severity.WARNING), check("trace.clock")
PICKED = replace(SOURCE, outcome=Outcome.FAILED)
CANARY, HELD_OUT = check("canary.to_end"), check("held_out.window")


@pytest.fixture
def result(make, assets):
    def with_checks(*checks, level=Isolation.CONTAINED):
        found = make.predicate(assets)
        isolation = replace(found.environment.isolation, level=level)
        return replace(
            found,
            audit=replace(found.audit, checks=checks),
            environment=replace(found.environment, isolation=isolation),
        )

    return with_checks


@pytest.mark.parametrize(
    ("checks", "tier"),
    [
        ((), Tier.SELF_REPORTED),
        ((SOURCE,), Tier.SELF_REPORTED),
        ((TRACE,), Tier.SELF_REPORTED),
        ((CANARY, HELD_OUT), Tier.SELF_REPORTED),
        ((SOURCE, check("trace.clock", Outcome.SKIPPED)), Tier.SELF_REPORTED),
        ((SOURCE, TRACE), Tier.SCREENED),
        ((SOURCE, check("trace.clock", Outcome.FAILED, Severity.WARNING)), Tier.SCREENED),
        ((SOURCE, TRACE, check("canary.screen")), Tier.SCREENED),
        ((SOURCE, TRACE, check("canary.to_end", Outcome.SKIPPED)), Tier.SCREENED),
        ((SOURCE, TRACE, check("canary.to_ending")), Tier.SCREENED),
        ((SOURCE, TRACE, HELD_OUT), Tier.SCREENED),
        ((SOURCE, TRACE, CANARY), Tier.CANARY),
        ((PICKED, TRACE, CANARY, HELD_OUT), Tier.SCREENED),
        ((check("source.timer"), TRACE, CANARY, HELD_OUT), Tier.SCREENED),
        ((SOURCE, TRACE, check("canary.to_end.uniform")), Tier.CANARY),
        ((SOURCE, TRACE, CANARY, check("held_out.window", Outcome.FAILED, Severity.WARNING)), Tier.CANARY),
        ((SOURCE, TRACE, CANARY, HELD_OUT), Tier.CANARY_HELD_OUT),
        ((SOURCE, TRACE, CANARY, HELD_OUT, check("source.exec", Outcome.FAILED)), Tier.SELF_REPORTED),
    ],
)
def test_only_checks_that_ran_lift_a_result(result, checks, tier):
    assert assess_tier(result(*checks), trusted=True).tier is tier


def test_leaving_out_a_check_never_lifts_a_result(result):
    checks = (SOURCE, TRACE, CANARY, HELD_OUT)
    order = list(Tier)
    top = order.index(assess_tier(result(*checks), trusted=True).tier)
    for left_out in checks:
        fewer = [c for c in checks if c is not left_out]
        assert order.index(assess_tier(result(*fewer), trusted=True).tier) < top


def test_an_unknown_key_or_a_guest_near_the_clock_is_self_reported(result):
    everything = (SOURCE, TRACE, CANARY, HELD_OUT)
    assert assess_tier(result(*everything), trusted=False).tier is Tier.SELF_REPORTED
    for level in (Isolation.IN_POD, Isolation.NONE):
        assert assess_tier(result(*everything, level=level), trusted=True).tier is Tier.SELF_REPORTED


def test_what_is_missing_is_said_until_nothing_is(result):
    assert "no source check" in assess_tier(result(), trusted=True).missing
    assert "picks among its losses" in assess_tier(result(PICKED, TRACE, CANARY), trusted=True).missing
    for other in ((), (replace(SOURCE, outcome=Outcome.SKIPPED),)):
        unseen = assess_tier(result(check("source.timer"), TRACE, CANARY, *other), trusted=True)
        assert unseen.missing.endswith("did not run") and "picks" not in unseen.missing
    assert assess_tier(result(SOURCE, TRACE, CANARY, HELD_OUT), trusted=True).missing == ""
