"""The page about model profiles shows a valid profile, a valid script and the retry rules of the code."""

from __future__ import annotations

import re
from pathlib import Path

from kit.agent.llm.profile import load_profile
from kit.agent.llm.retry import RETRY_RULES
from kit.agent.llm.scripted import load_script

PAGE = (Path(__file__).parents[4] / "docs" / "reference" / "model-profile.md").read_text()


def test_the_example_is_a_profile_with_every_field(tmp_path: Path) -> None:
    (example,) = re.findall(r'```toml\n(schema = "model-profile.v1".*?)```', PAGE, re.DOTALL)
    (tmp_path / "p.toml").write_text(example)
    document = load_profile(tmp_path / "p.toml").document()
    assert all(re.search(rf"^\[?{name}\b", example, re.MULTILINE) for name in document)
    assert None not in document.values()


def test_the_example_is_a_script(tmp_path: Path) -> None:
    (example,) = re.findall(r'```toml\n(schema = "scripted-answers.v1".*?)```', PAGE, re.DOTALL)
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "two.md").write_text("two")
    (tmp_path / "s.toml").write_text(example)
    assert [answer.text for answer in load_script(tmp_path / "s.toml").answers] == ["I have no idea.", "two"]


def test_the_table_has_the_rules_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .*? \| (\d+) \| ([a-z ]+) \|$", PAGE, re.MULTILINE)
    rules = [(f.value, str(r.attempts), r.then.replace("_", " ")) for f, r in RETRY_RULES.items()]
    assert rows == rules
