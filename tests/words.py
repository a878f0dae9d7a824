"""
List every text that a person can read: `python tests/words.py [--draw 60 --seed 1] [--where PATH]`.

From kit/: help texts, messages, hints of errors, details of checks and findings, first lines of docstrings.
From README.md, docs/ and the like: each sentence outside code blocks.
Prints one JSON object a line, with file, line, kind and text; the count per kind goes to stderr.
"""

from __future__ import annotations

import argparse
import ast
import collections
import json
import random
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs/**/*.md", ".github/**/*.md")
WORDS = re.compile(r"[A-Za-z]{2,}\W* [^A-Za-z]*[A-Za-z]{2,}")
"""A text has at least two words with a blank between them."""
CODE = re.compile(r"```.*?```", re.DOTALL)
SENTENCE = re.compile(r"(?<=[.!?:])\s+(?=[A-Z*`\[])")


@dataclass(frozen=True, slots=True)
class Text:
    """One text with its place. `kind` is docstring, string or sentence."""

    file: str
    line: int
    kind: str
    text: str


def of_module(path: Path, source: str) -> Iterator[Text]:
    """Yield the first line of each docstring and every other string of two words or more."""
    tree, docstrings = ast.parse(source), set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        for i, part in enumerate(body):
            if (
                isinstance(part, ast.Expr)
                and isinstance(part.value, ast.Constant)
                and isinstance(part.value.value, str)
            ):
                docstrings.add(part.value)
                lines = part.value.value.strip().split("\n\n")
                if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and i == 0:
                    for text in lines if "cli" in path.parts else lines[:1]:
                        yield Text(str(path), part.lineno, "docstring", " ".join(text.split()))
    inside = {id(v) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for v in n.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(v.value if isinstance(v, ast.Constant) else "{}" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
            if id(node) in inside:
                continue
            text = node.value
        else:
            continue
        if WORDS.search(text):
            yield Text(str(path), node.lineno, "string", " ".join(text.split()))


def of_page(path: Path, source: str) -> Iterator[Text]:
    """Yield each sentence and heading outside code blocks, and each row of a table after its header."""
    source = CODE.sub(lambda m: "\n" * m[0].count("\n"), source)
    at = 1
    for block in re.split(r"\n\s*\n", source):
        if block.lstrip().startswith("|"):
            header, *rows = block.strip().split("\n")
            sentences = [f"{header} {row}" for row in rows[1:]]
        else:
            sentences = SENTENCE.split(" ".join(block.split()))
        for sentence in sentences:
            if WORDS.search(sentence):
                yield Text(str(path), at, "sentence", sentence)
        at += block.count("\n") + 2


def every_text(root: Path = ROOT) -> list[Text]:
    """Return every text below `root`, sorted by place."""
    found: list[Text] = []
    for path in sorted(p for p in (root / "kit").rglob("*.py") if "guest" not in p.relative_to(root).parts):
        found += of_module(path.relative_to(root), path.read_text())
    for pattern in PAGES:
        for path in sorted(root.glob(pattern)):
            found += of_page(path.relative_to(root), path.read_text())
    return found


def main() -> None:
    """Print the texts, or some drawn at random."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--draw", type=int, help="print so many, drawn at random")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--where", default="", help="only files whose path begins like this")
    a = p.parse_args()
    texts = [t for t in every_text() if t.file.startswith(a.where)]
    print(dict(collections.Counter(t.kind for t in texts)), len(texts), file=sys.stderr)
    for text in random.Random(a.seed).sample(texts, a.draw) if a.draw else texts:
        print(json.dumps(asdict(text), ensure_ascii=False))


if __name__ == "__main__":
    main()
