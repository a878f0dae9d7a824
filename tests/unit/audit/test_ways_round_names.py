"""However a script comes by what it may not use, the rules refuse it or list it for a reviewer."""

from __future__ import annotations

import pytest

from kit.audit import source
from kit.audit.finding import Finding, Outcome, Severity
from kit.audit.source import SourceFile

HEAD = """\
import argparse, glob, math, os, resource, sys, time
import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
def open_shard(path: str) -> np.ndarray:
    return np.memmap(path, dtype="<u2", mode="r", offset=1024)
class Parser(argparse.ArgumentParser):
    pass
class Model(nn.Module):
    pass
class Trainer:
    def run(self):
        print(f"step:{1}/{2} val_loss:{self.loss:.4f} train_time:{time.perf_counter():.0f}ms", flush=True)
shards = [open_shard(path) for path in sorted(glob.glob("data/fineweb10B/fineweb_train_*.bin"))]
"""
BESIDE = (
    SourceFile("helper.py", b"import os\no = os\ndef f(): pass\n"),
    SourceFile("pkg/__init__.py", b""),
    SourceFile("pkg/part.py", b"import sys as s\n"),
    SourceFile("a/b/c.py", b"import os as far\nfrom helper import o as near\n"),
)
START = (SourceFile("train_gpt2.py", HEAD.encode()), *BESIDE)
GLOBALS, ARRAY = '"__glo" + "bals__"', '"__array" + "_interface__"'
"""Names of attributes as no rule can read them."""
KERNEL = (
    "from kernels import get_kernel\ndict(torch=0, _inductor=0, config=0, max_autotune=0, load=0, Tensor=0)\n"
    'k = get_kernel("varunneal/flash-attention-3")\n'
)
"""Makes names known, and has a module in hand that no import names."""


def failed(code: str) -> dict[str, Finding]:
    """Put code into the reference trainer and return the checks that fail."""
    script = SourceFile("train_gpt2.py", f"{HEAD}{code}\n".encode())
    findings = source.judge((script, *BESIDE), START)
    return {f.id: f for f in findings if f.outcome is Outcome.FAILED}


FATAL = (
    'run = exec; run("x")',
    'import builtins; builtins.exec("x")',
    'getattr(__builtins__, "exec")("x")',
    '(lambda f: f)(exec)("x")',
    '[exec][0]("x")',
    '(r := exec)("x")',
    'def f(g=exec): g("x")',
    'vars()["x"]',
    'globals()["x"]',
    'locals()["x"]',
    'import functools; functools.partial(exec, "x")()',
    "@exec\ndef f(): pass",
    "class A: e = exec",
    'list(map(exec, ["x"]))',
    '__import__("os")',
    'import importlib; importlib.import_module("os")',
    'from importlib import import_module as i; i("os")',
    'sys.modules["os"]',
    'torch.os.system("x")',
    'torch.serialization.os.system("x")',
    "f\"{exec('x')}\"",
    'match 1:\n    case _ if exec("x"): pass',
    "[e for e in [exec]]",
    'exec = None; exec("x")',
    'if 0:\n    exec = None\nexec("x")',
    'def f():\n    [0 for exec in [1]]\n    exec("x")',
    'class A:\n    exec = 1\n    def f(self): exec("x")',
    'm = torch; n = m; n.hub.load("x")',
    'n = m; m = torch; n.hub.load("x")',
    'import os as t; t.system("x"); import math as t',
    'x = 1; import os as x; x.system("y")',
    '(lambda: 0).__globals__["x"]',
    "(lambda: 0).__code__",
    "f = lambda: 0; f.__closure__",
    '"".__class__.__base__.__subclasses__()',
    "object.__subclasses__()",
    "class A:\n    def __getattr__(self, n): return exec",
    '__builtins__["exec"]("x")',
    '__loader__.get_data("x")',
    "__spec__.loader",
    "x = __doc__",
    'import helper; helper.os.system("x")',
    'from helper import os as o; o.system("x")',
    'import helper; helper.o.system("x")',
    'import helper as h; m = h; m.o.system("x")',
    "def f(x: \"exec('y')\"): pass",
    '@torch.library.custom_op("a::b", mutates_args=())\ndef f(x: "exec(\'y\')") -> Tensor: pass',
    'torch.ops.aten.from_file("x")',
    'torch.ops.load_library("x")',
    'torch.utils.cpp_extension.load_inline("x", "y")',
    'torch.compile(f, backend="x")',
    'Model.compile(mode="max-autotune")',
    'm = Model(1); m.compile(mode="max-autotune")',
    'os.system("x")',
    's = os.system; s("x")',
    'os.path.os.system("x")',
    'import glob as g; g.os.system("x")',
    'sys.stdout.write("x")',
    "sys._getframe(0)",
    "import inspect; inspect.currentframe()",
    "import gc; gc.get_objects()",
    'import logging; logging.info("x")',
    "import code",
    "import traceback",
    "import linecache",
    "import numpy.lib.format",
    "from torch import load",
    "torch.Tensor.item = f",
    "T = torch.Tensor; T.item = f",
    'setattr(torch.Tensor, "item", f)',
    "torch.Tensor.__bool__ = f",
    "def f(print): pass",
    "for print in [1]: pass",
    "[0 for print in [1]]",
    "match 1:\n    case print: pass",
    "try: pass\nexcept Exception as print: pass",
    "p = print; print = 1",
    "class A:\n    print = 1",
    "Trainer.__init__.__globals__",
    "a = Trainer; a.__class__ = 1",
    'x.open("y")',
    "x.read_text()",
    'delattr(torch, "hub")',
    "breakpoint()",
    'compile("x", "y", "exec")',
    "c = compile",
    'eval("x")',
    "x = eval",
    '(exec if 1 else print)("x")',
    '{"a": exec}["a"]("x")',
    "(yield exec)",
    "lambda: exec",
    "vars(torch)",
    '\uff45\uff58\uff45\uff43("x")',
    'open("notes.txt").read()',
    'f = open; f("notes.txt")',
    '[open][0]("x")',
    'import io; io.open("x")',
    'from io import open as o; o("x")',
    'import pathlib; pathlib.Path("x").read_text()',
    'from pathlib import Path; Path("x").read_bytes()',
    'from pathlib import Path as P; Q = P; Q("x").open().read()',
    'p = P("x"); p.read_text()',
    'np.load("x")',
    'np.fromfile("x")',
    'np.memmap("x")',
    'from numpy import fromfile as f; f("x")',
    'np.loadtxt("x")',
    'np.genfromtxt("x")',
    'torch.load("x")',
    'torch.from_file("x")',
    't = torch.from_file; t("x")',
    'torch.UntypedStorage.from_file("x")',
    'torch.zeros(1).untyped_storage().from_file("x")',
    "import mmap; mmap.mmap(0, 1)",
    'import importlib.resources as r; r.read_text("a", "b")',
    'import runpy; runpy.run_path("x")',
    'import codecs; codecs.open("x")',
    "__file__",
    "x = __file__",
    'os.path.join(__file__, "x")',
    "open(sys.argv[0]).read()",
    "import inspect; inspect.getsource(f)",
    'os.open("x", 0)',
    "os.read(0, 1)",
    'import fileinput; fileinput.input("x")',
    'import tokenize; tokenize.open("x")',
    'import zipfile; zipfile.ZipFile("x")',
    'import shutil; shutil.copy("a", "b")',
    'import pkgutil; pkgutil.get_data("a", "b")',
    'import argparse; argparse.ArgumentParser(fromfile_prefix_chars="@")',
    'Parser(**{"fromfile_prefix_chars": "@"})',
    'p.fromfile_prefix_chars = "@"',
    'open("x", "r+")',
    'open("x", mode)',
    "open(*a)",
    'open("x", "w+")',
    'import linecache; linecache.getline("x", 1)',
    "import tomllib; tomllib.load(f)",
    "import csv; csv.reader(f)",
    'import _io; _io.open("x")',
    "import ctypes",
    "from torch import from_file",
    "k.fn.__globals__",
    "import subprocess; subprocess.run(['nvidia-smi'], **{'execu' + 'table': '/usr/bin/python3'})",
    "import subprocess; subprocess.check_output(['nvidia-smi'], input=b'x')",
    "import subprocess; subprocess.run(['nvidia-smi'], cwd='x')",
    "from subprocess import run as r; r(['nvidia-smi'], *o)",
)
LISTED = (
    'from helper import o; o.popen("x")',
    "from helper import o as q; v = q.getcwd()",
    "from pkg.part import s; v = s.argv",
    "from pkg import part as p; from pkg.part import s as t; t.intern('x')",
    "import a.b.c; v = a.b.c.far.path.exists",
    "from a.b.c import near; near.getcwd()",
    "from a.b import c; c.far.getcwd()",
    "from subprocess import run; list(map(run, [['sh']]))",
    "import subprocess; [subprocess.run][0](['sh'])",
    "import functools; functools.partial(torch.compile, mode='x')(f)",
    "v = {'run': torch.compile}",
    'e = builtins.__dict__["ex" + "ec"]; e("x")',
    'n = "ex" + "ec"; getattr(math, n)',
    'import operator; operator.attrgetter("os")(torch)',
    'import operator; operator.methodcaller("exec")(1)',
    "class A: o = torch",
    "class A: o = torch.nn",
    'type("A", (), {})',
    "class M(type): pass",
    "class A(metaclass=M): pass",
    'match torch:\n    case object(os=o): o.system("x")',
    "match print:\n    case object(__self__=b): pass",
    "from os import *",
    "from math import *",
    "def f():\n    global m\n    m = torch\nm.os",
    "def f():\n    m = None\n    def g():\n        nonlocal m\n        m = torch\n    g()\n    return m.hub",
    "a, b = torch, math; a.hub",
    "for m in (torch,): m.hub",
    "with torch as m: pass",
    "t = torch; t = t.nn; t.hub",
    'print.__self__.exec("x")',
    "len.__self__",
    "().__class__.__mro__",
    'type(int).__dict__["__subclasses__"](object)',
    "args = type(int); dict(args=args.__dict__)",
    "try:\n    1 / 0\nexcept Exception as e:\n    e.__traceback__.tb_frame",
    '"{0.__globals__}".format(print)',
    's = "{0.__globals__}"; s.format(print)',
    'str.format("{0.__init__}", print)',
    '"x".format_map({})',
    "class A:\n    def __class_getitem__(c, n): return 1",
    "def __getattr__(n): return 1",
    "class A:\n    def __reduce__(self): return (print, ())",
    "class A:\n    def __del__(self): pass",
    "class A:\n    def __init_subclass__(c): pass",
    "class A(B, x=1): pass",
    "x = open_shard.__doc__",
    "from helper import *",
    "import pkg.part; pkg.part.s.argv",
    "from pkg import part; part.s.argv",
    '@torch.library.custom_op("a::b", mutates_args=())\ndef f(x: P) -> Tensor: pass\nP = "exec(\'y\')"',
    '@torch.library.custom_op("a::b", mutates_args=())\ndef f(x: "ex" + g()) -> Tensor: pass',
    'c = torch.library.custom_op; c("a::b", f, mutates_args=())',
    "torch.library.infer_schema(f)",
    "import typing; typing.get_type_hints(f)",
    "torch.jit.script(f)",
    "torch._C._something",
    "torch.distributed.all_gather_object([], 1)",
    "torch.utils.data.DataLoader(1)",
    "torch.cuda.get_device_name()",
    "np.ctypeslib",
    "np.lib.format",
    "v = np.array(1).ctypes",
    'np.array(1).tofile("x")',
    "time.sleep(1)",
    "time.monotonic()",
    "import time as t; t.process_time()",
    'os.listdir(".")',
    "os.getpid()",
    'os.environ["HOME"]',
    'os.environ.get("HOME")',
    'e = os.environ; e["HOME"]',
    "dict(os.environ)",
    "for k in os.environ: pass",
    "os.environ.copy()",
    'os.path.exists("x")',
    "sys.stdin.read()",
    "sys.argv",
    "sys.exit(0)",
    "import threading; threading.settrace(print)",
    'import random; random._os.system("x")',
    "import dataclasses; dataclasses.sys",
    'import dataclasses; dataclasses.make_dataclass("A", [])',
    "import contextlib; contextlib.redirect_stdout(None)",
    'import json; json.loads("1")',
    'import hashlib; hashlib.sha256(b"")',
    "import string; string.Formatter()",
    "import unittest.mock",
    "import antigravity",
    "import torch.hub",
    "import torch.onnx as o",
    "from torch import hub",
    "from torch.nn.functional import torch as t; t.hub",
    "F.torch.hub",
    "nn.modules.module.torch",
    "for T in (torch.Tensor,): T.item = f",
    'setattr(Trainer, "x" + "y", f)',
    "T = [torch.Tensor][0]; T.sum = f",
    "def f(T): T.item = 1",
    "import math as print",
    "async def f(): await x",
    'super().__getattribute__("x")',
    "v = Trainer.__mro__",
    "Trainer.__bases__ = ()",
    "x.f_back",
    "x.src",
    "x.frombuffer(1)",
    'getattr(x, "read" + "_text")()',
    'getattr(x, "__globals__")',
    "hasattr(torch, n)",
    'getattr(torch, "hub")',
    'g = getattr; g(torch, "hub")',
    'list(map(getattr, [torch], ["hub"]))',
    "input()",
    "exit()",
    "quit()",
    "help()",
    'memoryview(b"x")',
    "return_ = lambda x=torch: x.hub",
    'torch.__dict__["hub"]',
    "dir(torch)",
    "torch.nn.__dict__",
    "[torch]",
    "(torch,)",
    '{"a": torch}',
    "print(torch)",
    "m = torch if 1 else math",
    "m = (torch)[0]",
    "*m, = torch,",
    "m = torch or math",
    "x: object = torch; x.hub",
    "def f(): return torch",
    "def f(): yield torch",
    "assert torch",
    "torch[0]",
    "torch()",
    "not torch",
    'from kernels import get_kernel; get_kernel("evil/x")',
    'from kernels import get_kernel; k = get_kernel; k("evil/x")',
    'import kernels; kernels.get_local_kernel("x")',
    'import argparse; argparse.FileType("r")("x")',
    'open("x", "w", opener=o).read()',
    'HOME = open_shard("notes.txt")',
    "import imaplib",
    "import _posixsubprocess",
    'import posix; posix.open("x", 0)',
    'import triton; triton.compile("x")',
    'import triton.language as tl; tl.inline_asm_elementwise("x")',
    'import triton.language as tl; tl.core.extern_elementwise("x")',
    "triton.runtime",
    f"import functools; functools.wraps(f, assigned=({GLOBALS},), updated=())(b)",
    f"from functools import wraps; w = wraps; w(f, ({GLOBALS},))(b)",
    f"import functools; [functools.wraps][0](f, ({GLOBALS},))(b)",
    f"import functools; functools.partial(functools.wraps, assigned=({GLOBALS},))(f)(b)",
    f"k._key_to_attr = g; nn.ParameterDict.__getitem__(k, {GLOBALS})",
    f"class P(nn.ParameterDict): pass\nP.__getitem__(k, {GLOBALS})",
    f"type(nn.ParameterDict()).__getitem__(k, {GLOBALS})",
    "nn.ModuleList.__setitem__(type(x), 0, g)",
    f"p = nn.ParameterDict(); p[{ARRAY}] = d; np.asarray(p)",
    f"t = Trainer(); d = t.__dict__; d[{ARRAY}] = d; np.asarray(t)",
    f"t = argparse.ArgumentParser().parse_args(); dict(a=t.__dict__)['a'][{ARRAY}] = d; np.asarray(t)",
    f"t = Trainer(); s = dict(a=t.__dict__); torch.save(s, 'x.pt'); s['a'][{ARRAY}] = d; np.asarray(t)",
    "def dict(a): return a\nt = Trainer(); s = dict(a=t.__dict__); torch.save(s, 'x.pt')",
    "t = Trainer(); s = dict(a=t.__dict__); keep.save(s, 'x.pt')",
    f"class D(dict, nn.Module): pass\nm = Model(); m.add_module({ARRAY}, D()); np.asarray(m)",
    f"class D(dict): pass\nclass E(D, Model): pass\nm = Model(); m.add_module({ARRAY}, E()); np.asarray(m)",
    f"dict(_modules=0); m = Model(); m._modules[{ARRAY}] = d; np.asarray(m)",
    f"dict(_buffers=0); m = Model(); m._buffers[{ARRAY}] = d; np.asarray(m)",
    f"dict(_parameters=0); m = Model(); m._parameters[{ARRAY}] = d; np.asarray(m)",
    "a = torch.zeros(9); b = a.view(9); a.untyped_storage().resize_(8); b[8] = 1",
    f"{KERNEL}t = k.flash_attn_interface.torch; t._inductor.config.max_autotune = True",
    f"{KERNEL}t = k.flash_attn_interface.torch; t.load('x')",
    f"{KERNEL}k.flash_attn_interface.Tensor.view = f",
    f"{KERNEL}list(map(k.flash_attn_interface.Tensor.view, []))",
    f'from enum import Enum; Enum("E", {{{ARRAY}: 1}})',
    f"argparse.Namespace(**{{{ARRAY}: 1}})",
    f"p.set_defaults(**{{{ARRAY}: 1}})",
    f"p.add_argument({ARRAY}, default=1)",
    f'p.add_argument("--x", dest={ARRAY})',
    "p.parse_args([], namespace=type(x))",
    "m = Model(); c = m.compile; c(mode='x')",
    "m = Model(); list(map(m.compile, ['x']))",
    "x = '__globals__'",
    "v = np.frombuffer(np.array([None]), dtype=np.int64); v[0] = id(f)",
    "v = torch.frombuffer(np.array([None]), dtype=torch.int64)",
    "v = torch.asarray(np.array([None]).data, dtype=torch.int64)",
    "v = list(map(np.frombuffer, [np.array([None])]))",
    "class R:\n    def read(self): return np.array([None])\nf = R(); np.frombuffer(f.read(), 'i8')",
    "class R:\n    def read(self): return np.array([None])\nwith R() as f: np.frombuffer(f.read(), 'i8')",
    "x = np.ndarray((1,), 'O', np.array([id(f)]))",
    "A = np.ndarray; A((1,), 'O', np.array([id(f)]))",
    "[np.ndarray][0]((1,), 'O', b'x')",
    "class A(np.ndarray): pass",
    "A = type(np.zeros(1)); A((1,), 'O', b'x')",
    "def f(A): A((1,), 'O', b'x')\nf(type(np.zeros(1)))",
    '@torch.library.custom_op("a::b", mutates_args=())\ndef f(x: "inspect.stack()") -> Tensor: pass\n'
    "class inspect:\n    stack = 1",
)


def test_a_saved_dictionary_may_not_be_taken_from_the_script_itself() -> None:
    saved = SourceFile("train_gpt2.py", b"import torch\nclass A: pass\nt = A()\ns = dict(a=t.__dict__)\n")
    whole = SourceFile(saved.name, saved.data + b"torch.save(s, 'x.pt')\n")
    taken = SourceFile(saved.name, whole.data + b"from train_gpt2 import s as u\nu['a']['b'] = 1\n")
    start = (SourceFile("train_gpt2.py", b"import torch\n"),)
    assert [
        [f.id for f in source.judge((script,), start) if f.outcome is Outcome.FAILED]
        for script in (whole, taken)
    ] == [[], ["source.allowed"]]


@pytest.mark.parametrize("code", FATAL)
def test_a_trick_is_refused(code: str) -> None:
    assert Severity.FATAL in {f.severity for f in failed(code).values()}, code


@pytest.mark.parametrize("code", LISTED)
def test_a_trick_is_listed(code: str) -> None:
    assert "source.allowed" in failed(code), code


def test_the_list_names_the_place_and_what_was_used() -> None:
    listed = failed("import operator\nreach = operator.attrgetter('os')\n")["source.allowed"]
    assert (
        "operator.attrgetter" in listed.detail
        and f"train_gpt2.py:{HEAD.count(chr(10)) + 2}:" in listed.detail
    )


def test_a_long_list_fits_into_a_result() -> None:
    code = "".join(f"import {'m' * 90}{n}\n" for n in range(500))
    listed = failed(code)["source.allowed"]
    assert len(listed.detail) < 2000 and dict(listed.figures)["added"] == 500
