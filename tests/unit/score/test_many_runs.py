"""The work for a run does not grow with the number of runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kit.benchmark.tasks import load_task
from kit.core.facts import facts_root
from kit.score import baseline
from kit.score.report import score
from kit.score.rows import Role, Row


class CountedRows(tuple[Row, ...]):
    """Rows that count how often they are read through."""

    reads = 0

    def __iter__(self) -> Iterator[Row]:
        self.reads += 1
        return super().__iter__()


def row(role: Role, number: int, config: str, time_ms: float) -> Row:
    return Row(3, config, role, "one machine", f"{role}-{number}", 3.278, time_ms, None, "x")


@pytest.mark.parametrize("configs", [2, 20])
def test_rows_are_read_and_baselines_computed_once(configs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[Any] = []
    choose = baseline.choose_baseline
    monkeypatch.setattr(
        baseline, "choose_baseline", lambda *given: [computed.append(given), choose(*given)][1]
    )
    arms = [row(Role.START, n, "", 1000.0 + n) for n in range(3)]
    arms += [row(Role.TARGET, n, "", 800.0 + n) for n in range(3)]
    runs = [row(Role.CANDIDATE, n, f"c{n % configs}", 900.0 + n) for n in range(3 * configs)]
    rows = CountedRows([*arms, *runs])
    scored = score(rows, [load_task(facts_root(), 3)], repetitions=10)
    assert len(scored) == configs and all(c.tasks[0].ratio is not None for c in scored)
    assert len(computed) == 1
    assert rows.reads <= 3
