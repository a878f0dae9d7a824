"""Leave out the tests that need what a checkout does not have, unless a variable says that it is there.

And let no test fail for a garbage collection that fell into the one place where nothing can be called.
"""

from __future__ import annotations

import os
import sys

import pytest

VARIABLE = "KIT_UPSTREAM_MIRROR"
NEEDS_IT = "upstream"
"""The marker of the tests that need upstream's git history, of which the variable names a copy."""
MODEL_VARIABLE = "KIT_SMALL_MODEL"
NEEDS_MODEL = "model"
"""The marker of the tests that need the small model; see tests/model/prepare.py."""
ECOSYSTEM_VARIABLE = "KIT_ECOSYSTEM"
NEEDS_PACKAGES = "ecosystem"
"""The marker of the tests that install other projects' packages, each in an environment of its own."""

OPTIONAL = {
    NEEDS_IT: (
        VARIABLE,
        "git clone --bare https://github.com/KellerJordan/modded-nanogpt /tmp/upstream.git; "
        f"{VARIABLE}=/tmp/upstream.git make test TESTFLAGS='-m {NEEDS_IT}'",
    ),
    NEEDS_MODEL: (MODEL_VARIABLE, "make test-model INSTALL=1"),
    NEEDS_PACKAGES: (ECOSYSTEM_VARIABLE, "make test-ecosystem"),
}
"""A marker with its variable, and with the command that runs the tests."""


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Ignore a finalizer that found no room on the stack.

    Many tests have a parser recurse until Python stops it. If the collector runs at that depth, it calls the
    finalizers of what earlier tests left, and those fail with RecursionError. pytest would charge the test
    that runs just then.
    """
    reports = sys.unraisablehook

    def report(unraisable: sys.UnraisableHookArgs) -> None:
        if unraisable.exc_type is not RecursionError:
            reports(unraisable)

    def restore() -> None:
        if sys.unraisablehook is report:
            sys.unraisablehook = reports

    sys.unraisablehook = report
    config.add_cleanup(restore)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    missing = [marker for marker, (variable, _) in OPTIONAL.items() if not os.environ.get(variable)]
    left_out = [item for item in items if any(map(item.get_closest_marker, missing))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for marker, (variable, command) in OPTIONAL.items():
        if not os.environ.get(variable):
            terminalreporter.write_line(f"tests marked '{marker}' are left out; to run them: {command}")
