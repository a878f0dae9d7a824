from __future__ import annotations

import pytest

from kit.core.errors import UsageError
from kit.evaluate.audits import Audit, wanted


def test_groups_stand_for_their_members():
    assert wanted(["canary", "held-out"]).audits == {
        Audit.UNIFORM, Audit.NGRAM, Audit.MODEL, Audit.HELD_OUT,
    }  # fmt: skip
    assert wanted([]).audits == frozenset()


def test_an_unknown_audit_is_named_with_the_known_ones():
    with pytest.raises(UsageError, match="canari") as e:
        wanted(["canari"])
    assert "held-out" in e.value.hint


def test_chance_is_fresh_unless_a_seed_is_given():
    assert wanted(["canary"]).seed != wanted(["canary"]).seed
    assert wanted(["canary"], "nonce").seed == "nonce"
