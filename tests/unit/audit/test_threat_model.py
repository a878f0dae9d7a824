"""The published threat model is what the recorded outcomes and the attacks' headers give."""

from __future__ import annotations

import ast
import json

import known
import pytest
import suite
import threat_model
import wording

from kit.audit.registry import CHECKS

ATTACKS = suite.load()
KEPT = json.loads(threat_model.KEPT.read_text())
AGAIN = "run: make hostile"
each = pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.name)
everywhere = pytest.mark.parametrize("runtime", sorted(KEPT))
FOUND = {r: {n: suite.Recorded(**o) for n, o in KEPT[r]["outcomes"].items()} for r in KEPT}


def test_the_page_is_the_one_that_the_outcomes_give():
    assert threat_model.PAGE.read_text() == threat_model.page(ATTACKS, KEPT), AGAIN


def test_every_text_for_the_page_belongs_to_an_attack():
    assert {*wording.TITLES, *wording.NOTES} <= {a.name for a in ATTACKS}


@pytest.mark.parametrize("runtime", threat_model.RUNTIMES)
def test_every_attack_was_run(runtime):
    assert set(FOUND[runtime]) == {a.name for a in ATTACKS}, AGAIN


@everywhere
@each
def test_the_attack_as_it_stands_came_out_as_it_says(attack, runtime):
    found = FOUND[runtime][attack.name]
    assert suite.objections(attack, found, runtime) == []
    assert found.sha256 == suite.digest(attack.name), AGAIN


@each
def test_the_attack_names_checks_that_exist_and_is_python(attack):
    assert set(attack.by) <= {c.id for c in CHECKS}
    assert attack.expect in frozenset(suite.AttackOutcome) and attack.expect != suite.AttackOutcome.ESCAPED
    ast.parse((suite.ATTACKS / f"{attack.name}.py").read_text(), feature_version=(3, 11))


def test_every_known_pattern_has_an_attack_or_a_reason():
    shown = {number for attack in ATTACKS for number in attack.patterns}
    assert shown | set(known.ELSEWHERE) == set(known.PATTERNS) == set(range(1, 25))


def test_whatever_is_not_caught_is_written_against_the_kit():
    assert [a.name for a in ATTACKS if a.expect == suite.AttackOutcome.NOT_CAUGHT and not a.adaptive] == []


@everywhere
def test_no_attack_that_is_not_written_against_the_kit_reaches_a_canary_tier(runtime):
    allowed = {a.name for a in ATTACKS if a.expect == suite.AttackOutcome.HONEST or a.adaptive}
    reached = {name for name, found in FOUND[runtime].items() if found.tier.startswith("canary")}
    assert reached <= allowed


def test_the_honest_script_reaches_the_canary_tier():
    honest = [a for a in ATTACKS if a.expect == suite.AttackOutcome.HONEST]
    assert {FOUND["runc"][a.name].tier for a in honest} == {"canary"}


def test_time_that_a_flagged_script_hid_from_its_clock_is_added_to_it():
    hidden = [a for a in ATTACKS if "baseline.excess" in a.by and a.name in FOUND["runc"]]
    assert hidden, AGAIN
    for attack in hidden:
        assert FOUND["runc"][attack.name].figures["baseline.excess.excess_s"] > 3.0, attack.name


def test_the_network_is_tried_from_a_namespace_of_its_own_alone(tmp_path):
    for attack in (a for a in ATTACKS if a.network):
        with pytest.raises(ValueError, match="namespace"):
            suite.run(attack, tmp_path, "host")


def test_every_attack_that_names_an_address_is_one_of_the_network():
    naming = {p.stem for p in suite.ATTACKS.glob("*.py") if "create_connection" in p.read_text()}
    assert naming == {a.name for a in ATTACKS if a.network}
