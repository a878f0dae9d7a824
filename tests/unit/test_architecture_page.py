"""docs/architecture.md names the rooms and layers that the import contract has, and files that exist."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "architecture.md").read_text()


def exists(room: str) -> bool:
    return any((REPOSITORY / "kit" / name).exists() for name in (f"{room}/__init__.py", f"{room}.py"))


def test_the_page_has_the_layers_of_the_import_contract():
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = (c["layers"] for c in contracts if c["type"] == "layers")
    named = [{room for room in re.findall(r"\w+", layer) if exists(room)} for layer in layers]
    shown = defaultdict(set)
    for number, room in re.findall(r"^\| (\d+) \| `(\w+)` \|", PAGE, re.MULTILINE):
        shown[int(number)].add(room)
    assert [shown[number] for number in sorted(shown, reverse=True)] == [rooms for rooms in named if rooms]


def test_every_file_that_the_page_names_exists():
    named = re.findall(r"`((?:kit|docs|tests|images|records|hints)/[\w./-]*)`", PAGE)
    assert len(named) > 20
    installed = ("kit/_facts",)
    assert [n for n in named if n not in installed and not (REPOSITORY / n).exists()] == []
