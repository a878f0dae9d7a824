"""What surely runs at a script's start is found; what depends on a condition is not."""

from __future__ import annotations

import pytest

from kit.audit.needs import cuda_needs, missing_modules, start_code
from kit.audit.parsing import SourceFile, parse_files
from kit.core.facts import guest_file
from kit.values.era_modules import modules_of

ENTRY = "train_gpt2.py"
IMPORTS = "import os, sys\nimport torch\nimport torch.distributed as dist\nfrom torch import nn\n"


def needs(code: str, **files: str) -> list[tuple[str, int, str]]:
    texts = {ENTRY: IMPORTS + code, **{f"{name}.py": text for name, text in files.items()}}
    files = parse_files(SourceFile(n, t.encode()) for n, t in texts.items())
    found = cuda_needs(start_code(files, ENTRY))
    return [(n.file, n.line, n.what) for n in found]


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("x = torch.zeros(3).cuda()", "torch.zeros(3).cuda()"),
        ("model = nn.Linear(3, 3)\nmodel = model.cuda(0)", "model.cuda()"),
        ("x = torch.zeros(3, device='cuda')", "zeros(device='cuda')"),
        ("x = torch.zeros(3, device=torch.device('cuda', 0))", "zeros(device=torch.device('cuda', 0))"),
        ("rank = 0\nx = torch.zeros(3, device=f'cuda:{rank}')", "zeros(device=f'cuda:{rank}')"),
        ("device = 'cuda'\nx = torch.ones(3).to(device)", ".to(device)"),
        ("x = torch.ones(3).to('cuda:1')", ".to('cuda:1')"),
        ("torch.cuda.set_device(0)", "torch.cuda.set_device()"),
        ("from torch.cuda import set_device as choose\nchoose(0)", "torch.cuda.set_device()"),
        ("import torch.cuda as c\nc.synchronize()", "torch.cuda.synchronize()"),
        ("dist.init_process_group('nccl')", 'init_process_group("nccl")'),
        ("dist.init_process_group(backend='nccl', device_id=0)", 'init_process_group("nccl")'),
        ("torch.set_default_device('cuda')", "torch.set_default_device() with CUDA"),
        ("assert torch.cuda.is_available()", "assert torch.cuda.is_available()"),
        ("assert torch.cuda.is_available(), 'needs a GPU'", "assert torch.cuda.is_available()"),
        ("if __name__ == '__main__':\n    torch.cuda.synchronize()", "torch.cuda.synchronize()"),
        ("def main():\n    torch.cuda.synchronize()\nmain()", "torch.cuda.synchronize()"),
        ("class M:\n    def __init__(self):\n        torch.cuda.init()\nm = M()", "torch.cuda.init()"),
        ("with torch.no_grad():\n    torch.cuda.synchronize()", "torch.cuda.synchronize()"),
        ("try:\n    torch.cuda.synchronize()\nfinally:\n    print()", "torch.cuda.synchronize()"),
        ("for step in range(3):\n    torch.cuda.synchronize()", "torch.cuda.synchronize()"),
        ("while True:\n    torch.cuda.synchronize()", "torch.cuda.synchronize()"),
        ("class A:\n    device = torch.cuda.current_device()", "torch.cuda.current_device()"),
        ("def f(d=torch.cuda.current_device()):\n    pass", "torch.cuda.current_device()"),
    ],
)
def test_what_needs_cuda_is_named_with_its_place(code: str, what: str) -> None:
    found = needs(code)
    assert [w for _, _, w in found] == [what]
    assert all(file == ENTRY and line > IMPORTS.count("\n") for file, line, _ in found)


@pytest.mark.parametrize(
    "code",
    [
        "if torch.cuda.is_available():\n    torch.cuda.set_device(0)\n    dist.init_process_group('nccl')",
        "device = 'cuda' if torch.cuda.is_available() else 'cpu'\ntorch.ones(3).to(device)",
        "device = 'cuda'\nif not torch.cuda.is_available():\n    device = 'cpu'\ntorch.ones(3).to(device)",
        "dist.init_process_group('nccl' if torch.cuda.is_available() else 'gloo')",
        "dist.init_process_group('gloo')\ndist.init_process_group()",
        "def sync():\n    torch.cuda.synchronize()\nif torch.cuda.is_available():\n    sync()",
        "ok = torch.cuda.is_available() and torch.cuda.current_device()",
        "try:\n    torch.cuda.set_device(0)\nexcept Exception:\n    pass",
        "import contextlib\nwith contextlib.suppress(Exception):\n    torch.cuda.set_device(0)",
        "for n in range(torch.cuda.device_count()):\n    torch.cuda.set_device(n)",
        "while torch.cuda.is_available():\n    torch.cuda.synchronize()",
        "if not torch.cuda.is_available():\n    sys.exit(train_on_cpu())\ntorch.cuda.set_device(0)",
        "def run():\n    if not torch.cuda.is_available():\n        return 1\n    torch.cuda.init()\nrun()",
        "def stop():\n    sys.exit(0)\nstop()\ntorch.cuda.init()",
        "torch.cuda.synchronize = lambda: None\ntorch.cuda.synchronize()",
        "setattr(torch.cuda, 'synchronize', print)\ntorch.cuda.synchronize()",
        "class M(nn.Module):\n    def cuda(self):\n        return self\nm = M().cuda()",
        "torch.manual_seed(1)\ntorch.cuda.manual_seed_all(1)\nprint(torch.cuda.device_count())",
        "with torch.autocast('cuda', torch.bfloat16):\n    pass\ns = torch.amp.GradScaler(device='cuda')",
        "f = lambda x: x.cuda()\ng = [x.cuda() for x in ()]",
        "def later():\n    yield torch.cuda.synchronize()\nlater()",
        "text = 'call .cuda() and torch.cuda.set_device(0)'",
        "config = dict(device='cuda')\ndef train(device='cuda'):\n    return device\ntrain(device='cuda')",
        "match torch.cuda.is_available():\n    case True:\n        torch.cuda.set_device(0)",
        "import triton_kernels\n",
        "def broken(:\n",
        "x = " + "(" * 150 + "1" + ")" * 150,
        "x = 1" + " + 1" * 20_000,
    ],
)
def test_a_script_that_may_run_without_cuda_is_not_refused(code: str) -> None:
    assert needs(code) == []


def test_other_files_count_where_they_are_imported_or_called() -> None:
    kernels = "import torch\ntorch.cuda.init()\ndef go():\n    torch.cuda.synchronize()\n"
    assert needs("import kernels", kernels=kernels) == [("kernels.py", 2, "torch.cuda.init()")]
    assert needs("from kernels import go\ngo()", kernels=kernels) == [
        ("kernels.py", 2, "torch.cuda.init()"),
        ("kernels.py", 4, "torch.cuda.synchronize()"),
    ]
    assert needs("if len(sys.argv) > 1:\n    import kernels", kernels=kernels) == []


def test_the_reference_trainer_needs_nothing_that_the_smoke_image_lacks() -> None:
    files = parse_files([SourceFile(ENTRY, guest_file("train_reference.py").read_bytes())])
    code = start_code(files, ENTRY)
    assert cuda_needs(code) == missing_modules(code, cuda=False) == ()


@pytest.mark.parametrize(
    ("code", "cuda", "missing"),
    [
        ("import numpy, torch, os, json\nimport torch.nn.functional as F", False, []),
        ("import triton\nimport triton.language as tl", True, []),
        ("import triton\nimport triton.language as tl", False, ["import triton", "import triton"]),
        ("import einops", True, ["import einops"]),
        ("from transformers.models import gpt2", True, ["import transformers"]),
        ("try:\n    import einops\nexcept ImportError:\n    einops = None", True, []),
        ("def f():\n    import einops", True, []),
        ("from . import kernels\nfrom __future__ import annotations", True, []),
        ("import kernels\nfrom parts import a", True, []),
    ],
)
def test_modules_that_no_image_has_are_named(code: str, cuda: bool, missing: list[str]) -> None:
    files = [
        SourceFile(ENTRY, code.encode()),
        SourceFile("kernels.py", b"x = 1"),
        SourceFile("parts/a.py", b""),
    ]
    assert [n.what for n in missing_modules(start_code(parse_files(files), ENTRY), cuda)] == missing


def test_a_module_of_one_era_is_missing_in_the_others() -> None:
    text = (
        "import kernels, tiktoken\nfrom flash_attn_interface import flash_attn_varlen_func\nimport xformers"
    )
    code = start_code(parse_files([SourceFile("train_gpt.py", text.encode())]), "train_gpt.py")

    def names(era: str) -> set[str]:
        return {n.what for n in missing_modules(code, True, modules_of(era))}

    assert names("torch-2.10.0") == {"import xformers"}
    assert names("torch-2.9.1") == {"import tiktoken", "import xformers"}
    assert names("torch-2.7.0") == {
        "import flash_attn_interface",
        "import kernels",
        "import tiktoken",
        "import xformers",
    }
