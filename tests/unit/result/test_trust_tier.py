"""The tier that a reader computes."""

from dataclasses import replace

import pytest

from kit.audit.registry import CHECKS
from kit.result.appraisal import trust
from kit.result.appraisal.trust import Tier, assess_tier, missing_evidence
from kit.result.predicate import AuditCheck, Isolation, Lines, Outcome, Severity
from kit.values.profile import Profile


def check(name, outcome=Outcome.PASSED, severity=Severity.FATAL):
    return AuditCheck(name, severity, outcome, "", ())


SOURCE, TRACE = check("source.selection", severity=Severity.WARNING), check("trace.clock")
PICKED = replace(SOURCE, outcome=Outcome.FAILED)
CANARY, HELD_OUT = check("canary.to_end"), check("held_out.window")


@pytest.fixture
def result(make, assets):
    """A result of version 0.1."""

    def with_checks(*checks, level=Isolation.CONTAINED, rules=1):
        found = make.predicate(assets)
        isolation = replace(found.environment.isolation, level=level)
        return replace(
            found,
            audit=replace(found.audit, checks=checks, tier_rules=rules),
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
    assert "selects among its losses" in assess_tier(result(PICKED, TRACE, CANARY), trusted=True).missing
    for other in ((), (replace(SOURCE, outcome=Outcome.SKIPPED),)):
        unseen = assess_tier(result(check("source.timer"), TRACE, CANARY, *other), trusted=True)
        assert unseen.missing.endswith("did not run") and "selects" not in unseen.missing
    assert assess_tier(result(SOURCE, TRACE, CANARY, HELD_OUT), trusted=True).missing == ""


SCREENED = (*trust.SCREENED_PASSED, *trust.SCREENED_JUDGED)
NEEDED = {
    Tier.SCREENED: SCREENED,
    Tier.CANARY: (*SCREENED, *trust.CANARY_PASSED, trust.FLOOR),
    Tier.CANARY_HELD_OUT: (*SCREENED, *trust.CANARY_PASSED, trust.FLOOR, *trust.HELD_OUT_PASSED),
}
ALL = tuple(dict.fromkeys(NEEDED[Tier.CANARY_HELD_OUT]))
ORDER = list(Tier)


def passed(*names):
    return tuple(check(name) for name in dict.fromkeys(names))


@pytest.fixture
def today(result):
    """A result of today."""
    return lambda *checks, **more: result(*checks, rules=trust.TIER_RULES, **more)


@pytest.mark.parametrize("tier", NEEDED)
def test_a_tier_is_reached_when_every_check_that_it_names_passed(today, tier):
    assert assess_tier(today(*passed(*NEEDED[tier])), trusted=True).tier is tier


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("outcome", [None, Outcome.SKIPPED, Outcome.FAILED])
def test_without_one_of_them_the_tier_is_lower_and_the_check_is_named(today, name, outcome):
    kept = [
        replace(c, outcome=outcome, severity=Severity.WARNING) if c.id == name else c for c in passed(*ALL)
    ]
    found = assess_tier(today(*(c for c in kept if outcome or c.id != name)), trusted=True)
    highest = max((t for t in NEEDED if name not in NEEDED[t]), key=ORDER.index, default=Tier.SELF_REPORTED)
    flagged = outcome is Outcome.FAILED and name in trust.SCREENED_JUDGED and name != trust.SELECTION
    if flagged:
        assert found.tier is Tier.CANARY_HELD_OUT
    elif name == trust.SELECTION and outcome is Outcome.FAILED:
        assert found.tier is Tier.SCREENED and name in found.missing
    else:
        assert found.tier is highest and name in found.missing


@pytest.mark.parametrize("severity", Severity)
def test_a_check_that_failed_fatally_takes_every_tier(today, severity):
    found = assess_tier(today(*passed(*ALL), check("source.new", Outcome.FAILED, severity)), trusted=True)
    fatal = severity is Severity.FATAL
    assert found.tier is (Tier.SELF_REPORTED if fatal else Tier.CANARY_HELD_OUT)


def test_the_table_names_every_check_of_a_run_itself():
    named = {name for name in SCREENED if name.startswith(("source", "trace", "evidence"))}
    families = {c.id for c in CHECKS if c.id.startswith(("source", "trace", "evidence"))}
    assert named | {trust.ALLOWED} == families | {trust.ALLOWED}
    fatal = {c.id for c in CHECKS if c.severity is Severity.FATAL} & families
    assert fatal <= set(trust.SCREENED_PASSED)


def test_only_the_record_says_that_two_clocks_cannot_be_compared(today):
    skipped = [c for c in passed(*ALL) if c.id not in trust.NEED_A_GUEST_CLOCK]
    skipped += [check(name, Outcome.SKIPPED) for name in trust.NEED_A_GUEST_CLOCK]
    found = today(*skipped)
    assert assess_tier(found, trusted=True).tier is Tier.SELF_REPORTED
    assert missing_evidence(found).startswith("the check trace.clock was skipped")
    clockless = replace(found, evidence=replace(found.evidence, guest_clock=False))
    assert assess_tier(clockless, trusted=True).tier is Tier.CANARY_HELD_OUT
    assert missing_evidence(clockless) == ""


def test_where_no_training_lines_are_owed_the_overhead_must_have_been_measured(today):
    names = [name for name in ALL if name not in trust.NEED_TRAINING_LINES]
    found = today(*passed(*names))
    silent = replace(found, evidence=replace(found.evidence, training_lines=Lines(None, 0)))
    assert trust.EXCESS in assess_tier(silent, trusted=True).missing
    measured = replace(silent, audit=replace(silent.audit, checks=passed(*names, trust.EXCESS)))
    assert assess_tier(measured, trusted=True).tier is Tier.CANARY_HELD_OUT


def test_lines_that_were_not_counted_are_missing_whatever_the_check_says(today):
    found = today(*passed(*ALL))
    fewer = replace(found, evidence=replace(found.evidence, training_lines=Lines(20, 19)))
    assert assess_tier(fewer, trusted=True).missing == "the run printed 19 of 20 training lines"


def test_a_full_run_has_no_floor_and_needs_none(today):
    found = today(*passed(*(name for name in ALL if name != trust.FLOOR)))
    assert assess_tier(found, trusted=True).missing == "the check floor did not run"
    full = replace(found, task=replace(found.task, profile=Profile.FULL))
    assert assess_tier(full, trusted=True).tier is Tier.CANARY_HELD_OUT


def test_rules_that_the_reader_does_not_know_earn_nothing(result):
    found = assess_tier(result(*passed(*ALL), rules=3), trusted=True)
    assert found.tier is Tier.SELF_REPORTED and "does not know tier rules version 3" in found.missing
