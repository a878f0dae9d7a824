"""Reading a script takes a time that grows with its size alone, for no clock ends an audit."""

from __future__ import annotations

import time

import pytest

from kit.audit import source
from kit.audit.source import SourceFile

SECONDS = 6.0
"""Of the processor; each takes longer where a node is looked at again from every one around it."""

ODD = {
    "long dotted names": ("a" + ".b" * 800 + "\n") * 125,
    "many imports and attributes that are set": "".join(f"import m{i}\nm{i}.x = 1\n" for i in range(14_000)),
    "a long chain of calls that pick": f"f({'a,' * 20_000})" + ".min()" * 800,
    "indices within indices": "x[" * 80 + f"f({'a,' * 100_000})" + "]" * 80,
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_an_odd_script_is_read_in_time(text: str) -> None:
    began = time.process_time()
    source.judge((SourceFile("train_gpt2.py", text.encode()),), ())
    assert time.process_time() - began < SECONDS


def test_of_a_name_without_end_its_beginning_and_its_end_are_seen() -> None:
    text = f"import torch\ntorch.hub.load{'.x' * 100}\ny{'.x' * 100}.__globals__\n"
    found = {f.id: f.detail for f in source.judge((SourceFile("train_gpt2.py", text.encode()),), ())}
    assert "torch.hub.load" in found["source.weights"]
    assert "__globals__" in found["source.dynamic"]
