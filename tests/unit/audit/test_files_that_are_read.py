"""What a script may not read: its own files, above all, by any way other than importing them."""

from __future__ import annotations

import pytest

from kit.audit import source
from kit.audit.finding import Outcome
from kit.audit.source import SourceFile

START = """\
import os, sys, glob, torch
import numpy as np
with open(sys.argv[0]) as f:
    code = f.read()
def _load_data_shard(filename):
    with open(filename, "rb") as f:
        return np.frombuffer(f.read(), dtype=np.uint16)
def print0(text, console=False):
    with open("logs/run.txt", "a") as f:
        print(text, file=f)
    if console:
        print(text)
print0(code)
tokens = [_load_data_shard(name) for name in sorted(glob.glob("data/fineweb10B/fineweb_train_*.bin"))]
"""
FATAL = (
    START + "notes = open('notes.txt').read()\n",
    START + "notes = open(name).read()\n",
    START + "import pathlib\nexec(pathlib.Path('notes.txt').read_text())\n",
    START + "more = open(sys.argv[0]).read()\n",
    START + "more = __file__\n",
    START + "x = torch.from_file('x', False, 4)\n",
    START.replace("open(filename, 'rb')", "open('notes.txt', 'rb')") + "open('notes.txt', 'rb')\n",
    START.replace('open(filename, "rb")', "open('notes.txt', 'rb')"),
    START.replace('open(filename, "rb")', "open(sys.argv[0], 'rb')"),
    START + "import argparse\nargparse.ArgumentParser(fromfile_prefix_chars='@')\n",
)
LISTED = (
    START + "payload = code.split('#')\n",
    START + "print0(code[10:])\n",
    START + "for line in code: print0(line)\n",
    START + "def work(text):\n    return text.upper()\nwork(code)\n",
    START + "def work(text):\n    return text.upper()\nwork(text=code)\n",
    START.replace("code = f.read()", "code = f.read()\n    payload = f.readline()\n    g(payload)"),
    START + "saved = dict(code=code)\nsaved['code'].split()\n",
    START.replace("if console:", "if text.endswith('x'):"),
    START + "HOME = int(_load_data_shard('data/fineweb10B/fineweb_val_000000.bin').sum())\n",
    START + "names = glob.glob('*')\n",
    START + "import os\nos.listdir('.')\n",
    START + "open('x.txt', 'w').write('x')\n",
    *(
        START.replace('"logs/run.txt"', name)
        for name in (
            '"statistics.py"',
            '"helper" + ".py"',
            'f"logs/run.{kind}"',
            '"%s" % name',
            'os.path.join("logs", name)',
            'name + "run.txt"',
            '"../tmp/x.pth"',
        )
    ),
    START.replace("print0(code)", "name = 'helper.py'\nname = 'a.txt'\nprint0(code)").replace(
        '"logs/run.txt"', "name"
    ),
    START + "torch.save(code, 'helper.py')\n",
    START + "torch.save(code, name)\n",
    START + "torch.save(code, 'logs/x.pt', pickle_module=P())\n",
    START + "list(map(torch.save, [1], ['helper.py']))\n",
)
PLAIN = (
    START,
    START.replace("print(text, file=f)", "f.write(text)"),
    START.replace("print0(code)", "log = dict(code=code)\ntorch.save(log, 'logs/x.pt')\nprint0(code)"),
    START.replace('open(filename, "rb")', 'open(filename, mode="rb", buffering=0)').replace(
        "filename", "path"
    ),
    START.replace('open("logs/run.txt", "a")', 'open("logs/other.txt", mode="a")'),
    START.replace("print0(code)", "logfile = None\nlogfile = f'logs/{code[:0]}.txt'\nprint0(code)")
    .replace("code[:0]", "1")
    .replace('"logs/run.txt"', "logfile"),
    START.replace("import os,", "from pathlib import Path\nimport os,").replace(
        'open("logs/run.txt", "a")', '(Path("logs") / f"{1}.log").open("a")'
    ),
    START.replace('"logs/run.txt"', 'os.path.join("logs", "%06d.txt" % 1)'),
    START.replace(
        "np.frombuffer(f.read(), dtype=np.uint16)", "torch.frombuffer(f.read(), dtype=torch.uint16)"
    ),
)


def outcomes(code: str, *more: SourceFile) -> dict[str, str]:
    findings = source.judge(
        (SourceFile("train_gpt2.py", code.encode()), *more), (SourceFile("train_gpt2.py", START.encode()),)
    )
    return {f.id: f.detail for f in findings if f.outcome is Outcome.FAILED}


@pytest.mark.parametrize("code", FATAL)
def test_a_file_that_is_read_is_refused(code: str) -> None:
    assert "source.files" in outcomes(code)


@pytest.mark.parametrize("code", LISTED)
def test_an_odd_use_of_files_is_listed(code: str) -> None:
    found = outcomes(code)
    assert "source.allowed" in found and "source.files" not in found


@pytest.mark.parametrize("code", PLAIN)
def test_what_the_start_script_reads_may_be_read_in_other_words(code: str) -> None:
    found = outcomes(code)
    assert "source.files" not in found and "source.allowed" not in found


COPY = """\
with open(os.path.join(os.path.dirname(sys.argv[0]), 'triton_kernels.py'), 'r') as f:
    code += f"\\n\\n{'-' * 40}\\n# triton_kernels.py\\n\\n"
    code += f.read()
"""
KERNELS = SourceFile("triton_kernels.py", b"import torch\n")


def test_the_text_of_a_module_may_be_appended_to_the_log() -> None:
    code = START.replace("def _load", f"{COPY}def _load", 1)
    assert set(outcomes(code, KERNELS)) == {"source.surroundings"}
    assert "source.files" in outcomes(code)  # no such module
    assert "source.files" in outcomes(code.replace("code += f.read()", "payload = f.read()"), KERNELS)
    assert "source.files" in outcomes(COPY + START, KERNELS)  # there is no text to append to


def test_a_file_that_no_script_may_read_is_listed() -> None:
    assert set(outcomes(START, SourceFile("notes.txt", b"step"))) == {"source.allowed"}
    assert set(outcomes(START, SourceFile("run.toml", b"args = []"))) == set()


@pytest.mark.parametrize(
    "name", ["glob.py", "torch/__init__.py", "numpy.py", "sitecustomize.py", "random.py"]
)
def test_a_module_that_stands_in_for_another_is_refused(name: str) -> None:
    assert "source.patch" in outcomes(START, SourceFile(name, b"x = 1\n"))
