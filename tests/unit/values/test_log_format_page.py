"""docs/reference/log-format.md states the format of claims; its patterns and examples are run here."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from kit.benchmark.records import load_all
from kit.core.facts import facts_root
from kit.evaluate import terms
from kit.values.log import MAX_CLAIM, MAX_CLAIMS, TRAINING, VALIDATION, Grammar, parse_line
from kit.values.logread import MAX_LINE, parse_file_line
from kit.values.logtext import MAX_PREFIXES
from kit.values.lookalikes import EXAMPLES, look_alikes
from kit.values.run_result import Point

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reference" / "log-format.md").read_text()
BLOCKS = dict(re.findall(r"^```text (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
TABLE = re.findall(r"^\| `(.*step:5.*)` \| (.+) \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("grammar", Grammar)
def test_the_patterns_are_those_of_the_code(grammar: Grammar) -> None:
    for kind, patterns in (("validation", VALIDATION), ("training", TRAINING)):
        stated = BLOCKS[f"pattern={grammar}.{kind}"].rstrip("\n")
        assert stated == re.sub(r"\?P<\w+>", "", patterns[grammar].pattern)


@pytest.mark.parametrize("grammar", Grammar)
def test_each_example_is_a_claim_by_the_page_and_by_the_code(grammar: Grammar) -> None:
    lines = BLOCKS[f"claims={grammar}"].splitlines()
    assert lines
    for line in lines:
        point = parse_line(line, grammar)
        assert point is not None
        kind = "training" if point.val_loss is None else "validation"
        assert re.fullmatch(BLOCKS[f"pattern={grammar}.{kind}"].rstrip("\n"), line, re.ASCII)
        assert not any(parse_line(line, other) for other in Grammar if other is not grammar)
        assert parse_line(line + "\r", grammar) is None


def test_each_line_of_the_table_is_no_claim_for_the_reason_beside_it() -> None:
    assert len(TABLE) == 9
    for line, reason in TABLE:
        assert not any(parse_line(line, grammar) for grammar in Grammar)
        assert look_alikes([line.encode()], Grammar.STEP, parse_line).reasons == ((reason, 1),)


def test_each_line_of_a_file_is_a_point_in_a_file_alone() -> None:
    for line in BLOCKS["file=step"].splitlines():
        point = parse_file_line(line, Grammar.STEP)
        assert isinstance(point, Point)
        assert point.val_loss is not None
        assert not any(parse_line(line, grammar) for grammar in Grammar)


def test_the_statements_for_python_print_claims() -> None:
    code = re.search(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert code is not None
    printed: list[str] = []
    values = SimpleNamespace(step=3, total=20, val_loss=4.51563, ms=303.4, average=101.13)
    exec(code[1], {**vars(values), "print": lambda text, flush: printed.append(text)})
    assert [parse_line(line, Grammar.STEP) for line in printed] == [
        Point(3, 20, 4.5156, 303),
        Point(3, 20, None, 303),
    ]


def test_the_limits_and_the_forms_of_records_are_as_stated() -> None:
    assert f"at most {MAX_CLAIM} bytes" in PAGE
    assert f"after {MAX_CLAIMS:,} claims" in PAGE
    assert f"at most {MAX_LINE:,} bytes" in PAGE
    assert MAX_PREFIXES == 6
    assert "At most six prefixes" in PAGE
    forms = {r.number: r.grammar for r in load_all(facts_root() / "records")}
    assert forms == {n: "classic" if n <= 3 else "step" for n in forms}
    assert "grammar=Grammar.STEP" in Path(terms.__file__).read_text()


def test_the_page_is_linked_and_its_example_is_printed() -> None:
    assert "(docs/reference/log-format.md)" in (ROOT / "README.md").read_text()
    assert "`docs/reference/log-format.md`" in (ROOT / "kit/benchmark/tasks/handout.py").read_text()
    assert EXAMPLES[Grammar.STEP] in BLOCKS["claims=step"].splitlines()
