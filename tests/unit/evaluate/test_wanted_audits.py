from __future__ import annotations

import pytest

from kit.core.errors import UsageError
from kit.evaluate.audits import RerunAudit, select_audits


def test_groups_stand_for_their_members():
    assert select_audits(["canary", "held-out"]).audits == {
        RerunAudit.UNIFORM, RerunAudit.NGRAM, RerunAudit.MODEL, RerunAudit.HELD_OUT,
    }  # fmt: skip
    assert select_audits([]).audits == frozenset()


def test_an_unknown_audit_is_named_with_the_known_ones():
    with pytest.raises(UsageError, match="canari") as e:
        select_audits(["canari"])
    assert "held-out" in e.value.hint


def test_the_seed_is_random_unless_it_is_given():
    assert select_audits(["canary"]).seed != select_audits(["canary"]).seed
    assert select_audits(["canary"], "nonce").seed == "nonce"
