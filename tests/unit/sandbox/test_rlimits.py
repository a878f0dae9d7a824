"""Limits of the shell never make a good script fail: they are raised, or named before anything starts."""

from __future__ import annotations

import resource
from resource import RLIM_INFINITY

import pytest

from kit.core.errors import PrerequisiteError
from kit.sandbox import rlimits
from kit.values.run_spec import GIB

MIB_4 = 4 << 20


@pytest.fixture
def process(monkeypatch):
    """The limits of a process that the test makes up."""
    limits = {limit.number: (RLIM_INFINITY, RLIM_INFINITY) for limit in rlimits.inherited_limits(GIB)}
    monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
    monkeypatch.setattr(resource, "setrlimit", limits.__setitem__)
    return limits


def test_usual_limits_stay_as_they_are(process):
    process[resource.RLIMIT_NOFILE] = (1024, 4096)
    process[resource.RLIMIT_STACK] = (8 << 20, RLIM_INFINITY)
    before = dict(process)
    rlimits.require_limits(GIB)
    assert process == before


@pytest.mark.parametrize(
    ("number", "soft", "raised"),
    [
        (resource.RLIMIT_NOFILE, 20, 256),
        (resource.RLIMIT_FSIZE, 1024, GIB),
        (resource.RLIMIT_AS, MIB_4, 3 * GIB),
    ],
)
def test_a_low_soft_limit_is_raised(process, number, soft, raised):
    process[number] = (soft, RLIM_INFINITY)
    rlimits.require_limits(3 * GIB)
    assert process[number] == (raised, RLIM_INFINITY)


@pytest.mark.parametrize(
    ("number", "hard", "message"),
    [
        (resource.RLIMIT_NOFILE, 64, "open files is too low for a run: 64, needed: 256 (ulimit -n)"),
        (resource.RLIMIT_NPROC, 20, "processes is too low for a run: 20, needed: 256 (ulimit -u)"),
        (
            resource.RLIMIT_AS,
            MIB_4,
            "virtual memory is too low for a run: 4096, needed: 1048576 (ulimit -v)",
        ),
        (resource.RLIMIT_STACK, 1 << 17, "the stack is too low for a run: 128, needed: 1024 (ulimit -s)"),
    ],
)  # fmt: skip
def test_a_low_hard_limit_is_named_with_its_option(process, number, hard, message):
    process[number] = (hard, hard)
    with pytest.raises(PrerequisiteError) as e:
        rlimits.require_limits(GIB)
    assert e.value.message == f"the limit on {message}"
    assert e.value.hint.startswith("raise it in a new shell, as root if necessary: ulimit -")
