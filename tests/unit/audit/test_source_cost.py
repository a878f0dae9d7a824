"""Reading a script takes a time that grows with its size alone, for no clock ends an audit."""

from __future__ import annotations

import ast
import time
from types import ModuleType

import pytest

from kit.audit import executed, needs, source, validation
from kit.audit.finding import Outcome
from kit.audit.parsing import (
    MAX_DOTTED,
    MAX_FORMATTED,
    MAX_TOKENS,
    MAX_WORD,
    parse,
    parse_annotation,
    parse_files,
)
from kit.audit.source import SourceFile
from kit.audit.writing import FileNames
from kit.core.facts import guest_file

SECONDS = 60.0
"""Of the processor; each takes longer where a node is looked at again from every one around it."""

ALLOWED_BYTES = 800_000
"""Of ordinary code; it has nearly as many tokens as the rules read."""
NEST = "".join(f"{' ' * n}def f{n}():\n" for n in range(45)) + " " * 45
OWN_TEXT = "import sys\nwith open(sys.argv[0]) as f:\n    c = f.read()\n"
ODD = {
    "long dotted names": ("a" + ".b" * 800 + "\n") * 125,
    "many imports and attributes that are set": "".join(f"import m{i}\nm{i}.x = 1\n" for i in range(14_000)),
    "a long chain of calls that pick": f"f({'a,' * 20_000})" + ".min()" * 800,
    "indices within indices": "x[" * 80 + f"f({'a,' * 100_000})" + "]" * 80,
    "one name for many modules": "".join(f"import m{i} as x\nx.a\n" for i in range(8_000)),
    "second names of second names": "".join(f"a{i} = a{i + 1}\n" for i in range(12_000))
    + "import os as a12000\n",
    "a name of its own parts": "import torch as a\n" + "a = a.nn\n" * 20_000,
    "many second names of one": "import torch as t\n" + "".join(f"x = t.a{i}\nx.b\n" for i in range(9_000)),
    "functions within functions": NEST + "a.b;" * 40_000,
    "its own text, over and over": OWN_TEXT + "c = c + c\n" * 18_000,
    "its own text, handed on": OWN_TEXT + "def g(a, b):\n    g(b, a)\n" + "g(c, 1)\n" * 20_000,
    "files that are opened": OWN_TEXT + "with open(__file__) as f: f.x\n" * 6_000,
    "letters of other alphabets": "\u00e9a = '\u00e9'  # \u00e9\n" * 12_000,
    "characters that are hidden": "# \u200b\u202e\n" * 20_000,
    "texts that do not end": "x = '\u00e9'\n#" + '"""' * 60_000,
    "annotations in texts": "def f(x: 'a.b.c'): pass\n" * 8_000,
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_an_odd_script_is_read_in_time(text: str) -> None:
    began = time.process_time()
    source.judge((SourceFile("train_gpt2.py", text.encode()),), ())
    assert time.process_time() - began < SECONDS


@pytest.mark.parametrize(
    "text", ["import {}a", "from {}a import b", "x = 1; import c, {}a", "import {}\\\na"]
)
def test_a_module_whose_name_never_ends_does_not_reach_the_parser(text: str) -> None:
    """Half a megabyte of it took the parser more than 30 GB of memory."""
    script = text.format("a." * 5_000) + "\n"
    with pytest.raises(SyntaxError, match="more than 1000 parts in line 1"):
        parse(script)
    findings = source.judge((SourceFile("train_gpt2.py", script.encode()),), ())
    assert any("more than 1000 parts" in f.detail for f in findings)
    assert parse("import " + "a." * 900 + "a\n").body


def test_much_ordinary_code_is_read_in_time() -> None:
    text = guest_file("train_reference.py").read_text()
    text = text * (ALLOWED_BYTES // len(text))
    began = time.process_time()
    found = source.judge((SourceFile("train_gpt2.py", text.encode()),), ())
    assert time.process_time() - began < SECONDS
    assert found[0].outcome is Outcome.PASSED


def test_beginning_and_end_of_an_overlong_name_are_judged() -> None:
    text = f"import torch\ntorch.hub.load{'.x' * 100}\ny{'.x' * 100}.__globals__\n"
    found = {f.id: f.detail for f in source.judge((SourceFile("train_gpt2.py", text.encode()),), ())}
    assert "torch.hub.load" in found["source.weights"]
    assert "__globals__" in found["source.dynamic"]


LONG = "torch" + ".nn.functional.torch" * 12
BESIDE = {
    f"import torch\n{LONG}.nn.functional.cross_entropy = 1": "source.patch",
    f"import torch\nF = {LONG}.nn.functional\nF.cross_entropy = 1": "source.patch",
    f"import torch\nsetattr({LONG}.nn.functional, 'cross_entropy', 1)": "source.patch",
    f"import torch as t\nt{'.nn' * 40}.cross_entropy = 1": "source.patch",
    f"import torch\n{LONG}._inductor.config.max_autotune = True": "source.compiler",
    "import os\nos.path.os.system('true')": "source.process",
    "import torch\ntorch.os._exit(0)": "source.process",
    "import torch.nn.functional as F\nF.torch.hub.load('x')": "source.weights",
    "import torch\ntorch.sys.modules['x'] = 1": "source.dynamic",
}


@pytest.mark.parametrize(("text", "rule"), BESIDE.items())
def test_a_name_through_several_modules_is_judged_by_its_end(text: str, rule: str) -> None:
    found = {f.id: f for f in source.judge((SourceFile("train_gpt2.py", text.encode()),), ())}
    assert found[rule].outcome is Outcome.FAILED


@pytest.mark.parametrize("text", ["import time\nt = time.time", "import torch\nself.sys.path.x = torch.time"])
def test_a_name_that_reaches_no_module_is_not_refused(text: str) -> None:
    found = source.judge((SourceFile("train_gpt2.py", text.encode()),), ())
    assert {f.outcome for f in found if f.id in ("source.patch", "source.dynamic")} == {Outcome.PASSED}


LONG_NAME = "a" * (MAX_WORD + 1)
LONG_TEXT = "f'" + "{a}" * (MAX_FORMATTED // 3) + "'"
MANY = "a;" * (MAX_TOKENS // 2) + "a"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"x = 1\n{LONG_NAME} = 1", f"a name of more than {MAX_WORD} characters in line 2"),
        ("a" + ".b234567" * 600, f"a dotted name of more than {MAX_DOTTED} characters in line 1"),
        (f"\n\nx = {LONG_TEXT}", f"an f-string of more than {MAX_FORMATTED} characters in line 3"),
        (f"rF{LONG_TEXT[1:]}", f"an f-string of more than {MAX_FORMATTED} characters in line 1"),
        (f"\n{MANY}", f"a script of more than {MAX_TOKENS} tokens in line 2"),
        (f"f'{{a}}'\n{MANY[2:]}", f"a script of more than {MAX_TOKENS} tokens in line 2"),
    ],
    ids=["name", "dotted name", "f-string", "raw f-string", "tokens", "tokens in f-strings"],
)
def test_what_takes_too_long_does_not_reach_the_parser(text: str, reason: str) -> None:
    """One f-string of a mebibyte took the parser more than a minute, for it searches all of it again."""
    with pytest.raises(SyntaxError, match=reason):
        parse(text)
    found = source.judge((SourceFile("train_gpt2.py", text.encode()),), ())[0]
    assert found.outcome is Outcome.FAILED
    assert reason in found.detail


def test_an_annotation_in_a_text_with_an_endless_name_does_not_reach_the_parser() -> None:
    text = f"def f(x: 'import {'a.' * 1000}a' = 1): pass"
    with pytest.raises(SyntaxError, match="more than 1000 parts"):
        parse_annotation(text.split("'")[1])


@pytest.mark.parametrize(
    "text",
    [
        f"x = {LONG_TEXT[1:]}",
        f"# {LONG_NAME}\n'{LONG_NAME}'\n'''\n{MANY}\n'''",
        f"x = 0x{'f' * 300}",
        f"# '\nx = 1 # f'''{LONG_TEXT}",
    ],
    ids=["text", "in comments and texts", "number", "quotes in comments"],
)
def test_long_texts_and_comments_reach_the_parser(text: str) -> None:
    assert parse(text).body


def test_the_files_of_a_script_share_its_number_of_tokens() -> None:
    half = ("a;" * (MAX_TOKENS // 4 + 1)).encode()
    parsed = parse_files((SourceFile("a.py", half), SourceFile("b.py", half), SourceFile("c.py", b"x")))
    assert [type(p.error) for p in parsed] == [type(None), SyntaxError, type(None)]
    assert str(parsed[1].error) == f"a script of more than {MAX_TOKENS} tokens in line 1"


class _Counting(FileNames):
    """Counts how often the values of a name are looked at."""

    looked_at = 0

    def _values(self, name: str) -> list[ast.expr]:
        self.looked_at += 1
        return super()._values(name)


def test_names_of_names_of_files_are_looked_at_once() -> None:
    """Five names of forty values each took a hundred million looks, for every file that was opened."""
    text = "".join(f"a{n} = a{n + 1}\n" * 5 for n in range(4)) + "a4 = 'x.pt'\n"
    names = _Counting(ast.walk(parse(text)))
    assert all(names.is_harmless(ast.Name("a0", ast.Load())) for _ in range(5))
    assert names.looked_at == 5  # one for each name
    assert names.is_harmless(ast.parse("str(a3 + a3)", mode="eval").body)
    assert names.looked_at <= 30


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("%s.txt", True), ("a%d%5.2f.pt", True), ("%-+ #05d.log", True), ("x.txt%s", False),
        ("%000.txt", True), ("%%s.pt", True), ("%1%.bin", True), ("%.py", False), ("%5.x.pt", True),
        ("%5.3", False), ("%.3f.pyx", False), ("%s" * 9 + ".py", False), ("%" * 9 + ".csv", True),
    ],
)  # fmt: skip
def test_a_name_of_a_file_is_known_by_what_follows_its_last_field(text: str, known: bool) -> None:
    node = ast.parse(f"{text!r} % x", mode="eval").body
    assert FileNames(()).is_harmless(node) is known


def test_a_parameter_that_is_declared_global_ends_no_check() -> None:
    text = f"{OWN_TEXT}def g(a):\n    global a\ng(c)\n"
    assert source.judge((SourceFile("train_gpt2.py", text.encode()),), ())[0].outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("x = (y := (z := c))\nw = z", [3, 4, 5]),
        ("x = (y := [c, (z := 1)])\nw = z", [3, 4]),
        ("x = [(z := (c2 := c)), (y := c2)]\ny", [3, 4, 4, 5]),
        ("x = [(p := [(q := d)]), (d := c), (r := d)]\np, q, r", [3, 4, 4, 4, 5]),
        ("def g(a, b):\n    b\ng(1, b=c)\n", [3, 5]),
        ("def g(a, b):\n    a\ng(1, b=c)\n", [3]),
        ("def g(a):\n    a\ndef g(b, a):\n    a\ng(1, c)\n", [3, 7]),
        ("with open('train_gpt2.py') as h, open('x') as k:\n    c += h.read()\nk, c", [3, 6]),
        ("with open('train_gpt2.py') as h, open('x') as k:\n    c += k.read()\nk, c", [3, 6]),
    ],
)
def test_the_text_of_a_script_is_followed(code: str, lines: list[int]) -> None:
    found = source.judge((SourceFile("train_gpt2.py", (OWN_TEXT + code).encode()),), ())
    places = {f.id: f.detail for f in found}["source.allowed"].split("; ")
    assert [int(p.split(":")[-2]) for p in places if "the script's source text" in p] == lines


def _counted(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> list[object]:
    """Return a list that grows with each call of a function of a module."""
    calls: list[object] = []
    real = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *a: calls.append(a) or real(*a))
    return calls


def test_a_called_function_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    searched = _counted(monkeypatch, executed, "_is_generator")
    tree = parse("def g():\n    x\nclass A:\n    def __init__(self):\n        y\n" + "g()\nA()\n" * 50)
    nodes = executed.executed_nodes({"a.py": tree}, "a.py")
    assert {n.id for _, n in nodes if isinstance(n, ast.Name)} == {"g", "A", "x", "y"}
    assert len(searched) == 2


def test_a_statement_is_searched_once_for_what_leaves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    loops = "".join(f"{' ' * n}for a in b:\n" for n in range(18)) + " " * 18 + "c\n"
    tree = parse(loops)
    tested = _counted(monkeypatch, executed, "_is_exit")
    executed.executed_nodes({"a.py": tree}, "a.py")
    assert len(tested) < 2 * len(list(ast.walk(tree)))


def test_a_value_of_several_settings_is_formatted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    formatted = _counted(monkeypatch, validation, "_value")
    (node,) = parse("val_tokens = val_files = x = val_steps = 3").body
    assert list(validation.settings(node)) == ["val_tokens = 3", "val_files = 3", "val_steps = 3"]
    assert len(formatted) == 1


def test_annotations_under_several_operator_decorators_are_judged_once() -> None:
    operator = "@torch.library.custom_op('a::b')\n"
    text = f"import torch\ny = 1\n{operator * 3}def f(x: y): pass\n"
    found = {f.id: f.detail for f in source.judge((SourceFile("train_gpt2.py", text.encode()),), ())}
    assert found["source.allowed"].count("the annotation y of a custom operator") == 1


@pytest.mark.parametrize(
    "code",
    ["a.b(c, d=[e]).cuda", "(a + b).cuda", "'x'.y.cuda", "f(1)(2)[3].cuda", "(1).cuda", "(lambda: 0)().cuda"],
)
def test_the_end_of_a_call_is_shown_as_python_writes_it(code: str) -> None:
    node = ast.parse(code + ".to(k)" * 20, mode="eval").body
    for expression in (node, ast.parse(code, mode="eval").body):
        assert needs._end_of(expression)[-60:] == ast.unparse(expression)[-60:]
