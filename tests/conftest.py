"""Leave out the tests that need upstream's git history, unless a variable names a copy of it."""

from __future__ import annotations

import os

import pytest

VARIABLE = "KIT_UPSTREAM_MIRROR"
NEEDS_IT = "upstream"
"""The marker of those tests."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get(VARIABLE):
        return
    left_out = [item for item in items if item.get_closest_marker(NEEDS_IT)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker(NEEDS_IT)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not os.environ.get(VARIABLE):
        terminalreporter.write_line(
            f"tests marked '{NEEDS_IT}' are left out; to run them: "
            f"git clone --bare https://github.com/KellerJordan/modded-nanogpt /tmp/upstream.git; "
            f"{VARIABLE}=/tmp/upstream.git make test TESTFLAGS='-m {NEEDS_IT}'"
        )
