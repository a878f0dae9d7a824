"""Scripts from anywhere: the source rules judge them, in a time that grows with their size alone."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st
from mutation import QUICK, mutated

from kit.audit import source
from kit.audit.finding import Finding
from kit.audit.source import SourceFile
from kit.core.facts import guest_file

REFERENCE = guest_file("train_reference.py").read_bytes()
START = (
    SourceFile("train_gpt2.py", b"import os, sys, torch\nwith open(sys.argv[0]) as f:\n    a = f.read()\n"),
)
SECONDS = 4.0
"""Of the processor, for each 100 kB: more than six times what the slowest example took on an idle machine."""
MOST = 2000
"""Characters of a text in a result."""

NAMES = st.sampled_from(
    ["a", "f", "os", "sys", "torch", "exec", "open", "getattr", "__file__", "self", "\u03b2", "print"]
)
TEXTS = st.sampled_from(
    ["'x'", "'{0.a}'", "f'{a}'", "b'x'", "'a::b'", "'''\n'''", "1", "0xffff", "None", "...", "-1e9"]
)
LEAVES = NAMES | TEXTS


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Put expressions together."""
    return st.one_of(
        st.tuples(inner, NAMES).map("{0[0]}.{0[1]}".format),
        st.tuples(inner, inner).map("{0[0]}({0[1]})".format),
        st.tuples(NAMES, inner, NAMES).map("{0[0]}({0[2]}={0[1]}, **a)".format),
        st.tuples(inner, inner).map("{0[0]}[{0[1]}]".format),
        st.tuples(NAMES, inner).map("({0[0]} := {0[1]})".format),
        st.tuples(NAMES, inner).map("(lambda {0[0]}=a: {0[1]})".format),
        st.tuples(inner, NAMES, inner).map("[{0[0]} for {0[1]} in {0[2]}]".format),
        st.tuples(inner, inner).map("({0[0]}, *{0[1]})".format),
        st.tuples(inner, inner).map("{{{0[0]}: {0[1]}}}".format),
        st.tuples(inner, inner).map("{0[0]} if {0[1]} else a".format),
        st.tuples(inner, inner).map("({0[0]} < {0[1]})".format),
    )


VALUES = st.recursive(LEAVES, _grown, max_leaves=12)
STATEMENTS = st.one_of(
    VALUES,
    st.tuples(NAMES, VALUES).map("{0[0]} = {0[1]}".format),
    st.tuples(VALUES, NAMES, VALUES).map("{0[0]}.{0[1]} = {0[2]}".format),
    st.tuples(NAMES, NAMES).map("import {0[0]}.{0[1]} as {0[1]}".format),
    st.tuples(NAMES, NAMES).map("from {0[0]} import {0[1]}".format),
    st.tuples(NAMES, NAMES).map("from ..{0[0]} import {0[1]}, a as b".format),
    NAMES.map("from {} import *".format),
    st.tuples(NAMES, VALUES, VALUES).map("def {0[0]}(a: {0[1]}, *os, **exec) -> 'a.b': return {0[2]}".format),
    st.tuples(NAMES, VALUES).map("class {0[0]}({0[1]}, metaclass=a): exec = os".format),
    st.tuples(NAMES, VALUES).map("def {0[0]}():\n global os, a\n nonlocal f\n os = {0[1]}\n yield os".format),
    st.tuples(VALUES, NAMES).map("with open({0[0]}, sys.argv) as {0[1]}:\n a += {0[1]}.read()".format),
    st.tuples(VALUES, NAMES).map(
        "match {0[0]}:\n case {0[1]}(b=a): pass\n case [*a, 1]: pass\n case _: pass".format
    ),
    st.tuples(VALUES, NAMES).map("try: {0[0]}\nexcept a as {0[1]}: raise\nfinally: del {0[1]}".format),
    st.tuples(VALUES, VALUES).map("@{0[0]}\n@torch.library.custom_op('a::b')\ndef f(x: {0[1]}): pass".format),
    st.tuples(NAMES, VALUES).map("async def {0[0]}(): await {0[1]}".format),
)
PROGRAMS = st.lists(STATEMENTS, max_size=12).map("\n".join)
FILES = st.sampled_from(
    ["train_gpt2.py", "os.py", "a/__init__.py", "a/b.py", "a.b.py", "run.toml", "notes.txt"]
)


def judged(*files: SourceFile) -> tuple[Finding, ...]:
    """Judge a submission; whatever it is, there is a finding for each check, and time is left."""
    began = time.process_time()
    findings = source.judge(files, START)
    spent = time.process_time() - began
    size = sum(len(f.data) for f in (*files, *START))
    assert spent < SECONDS * (1 + size / 100_000)
    assert [f.id for f in findings] == [f.id for f in source.judge(files, None)]
    assert all(len(f.detail) < MOST for f in findings)
    return findings


@QUICK
@given(st.lists(st.tuples(FILES, PROGRAMS), max_size=4))
def test_any_program_is_judged(files: list[tuple[str, str]]) -> None:
    judged(*(SourceFile(name, text.encode()) for name, text in files))


@QUICK
@given(FILES, st.text() | st.binary().map(lambda b: b.decode("latin-1")))
def test_any_text_is_judged(name: str, text: str) -> None:
    judged(SourceFile(name, text.encode("utf-8", "surrogatepass")))


@QUICK
@given(st.data())
def test_a_damaged_script_is_judged(data: st.DataObject) -> None:
    judged(SourceFile("train_gpt2.py", data.draw(mutated(REFERENCE))))


@QUICK
@given(STATEMENTS, st.integers(1, 2000))
def test_a_program_that_repeats_itself_is_judged_in_time(statement: str, times: int) -> None:
    judged(SourceFile("train_gpt2.py", f"{statement}\n".encode() * times))


@QUICK
@given(
    st.sampled_from(
        ["(", "[", "{", "lambda: ", "not ", "-", "a.", "a(", "f'{", "x if y else ", "a[", "await "]
    ),
    st.integers(1, 5000),
)
def test_a_program_that_is_deep_is_judged(part: str, times: int) -> None:
    closing = {"(": ")", "[": "]", "{": "}"}.get(part[-1], "")
    judged(SourceFile("train_gpt2.py", (part * times + "a" + closing * times).encode()))
