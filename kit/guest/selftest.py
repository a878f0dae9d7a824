"""
Whether an image can do what the records need, found out by doing it. Runs inside an image; imports no kit.

    python3 selftest.py             one JSON line on stdout for each of CHECKS, in that order; exits with 0
    torchrun ... selftest.py NAME   what the ranks of the checks `gloo` and `nccl` run

It compares nothing with a lock: it says which versions it found, and the host judges them. What libraries
print goes to stderr. A check that breaks has failed; one that kills the interpreter leaves the report short.
"""

import glob
import importlib.machinery
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
import tempfile
import time

PATIENCE_S = 240
"""For one child process."""
PORT = 29500
DETAIL = 500

EXTENSION = """\
#include <Python.h>

static PyObject *answer(PyObject *self, PyObject *unused) { return PyLong_FromLong(6 * 7); }

static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "selftest_extension", NULL, -1, methods};

PyMODINIT_FUNC PyInit_selftest_extension(void) { return PyModule_Create(&definition); }
"""

KERNEL = """\
import triton
import triton.language as tl


@triton.jit
def double(source, target, count):
    at = tl.program_id(0) * 256 + tl.arange(0, 256)
    kept = at < count
    tl.store(target + at, 2 * tl.load(source + at, mask=kept), mask=kept)
"""

OPERATOR = """\
import torch
from torch import Tensor


@torch.library.custom_op("selftest::product", mutates_args=())
def product(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return x @ w.t(), x.clone(), w.clone()


@product.register_fake
def _(x, w):
    return x @ w.t(), x.clone(), w.clone()


@torch.library.custom_op("selftest::gradient", mutates_args=())
def gradient(g: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    return g @ w, (x.t().contiguous() @ g).t()


@gradient.register_fake
def _(g, x, w):
    return x.clone(), w.clone()


def keep(ctx, inputs, output):
    ctx.save_for_backward(*output[1:])
    ctx.set_materialize_grads(False)


product.register_autograd(lambda ctx, g, *_: gradient(g, *ctx.saved_tensors), setup_context=keep)
"""


class Skip(Exception):
    """There is nothing here to check; the message says why."""


# -------------------------------------------------------------------------------------- what is installed


def python():
    """The interpreter, and the compilers that Triton and Inductor call."""
    gcc, gxx = (child(name, "-dumpfullversion").strip() for name in ("gcc", "g++"))
    detail = f"CPython {platform.python_version()}, gcc {gcc}, g++ {gxx}, libc {platform.libc_ver()[1]}"
    return detail, {"python": platform.python_version()}


def packages():
    """Every distribution that Python finds, each once."""
    found = {}
    for distribution in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
        assert name not in found, f"{name} is installed twice"
        found[name] = distribution.version
    return f"{len(found)} distributions", found


def numpy():
    """Numbers: import it and multiply."""
    import numpy

    product = numpy.arange(6.0).reshape(2, 3) @ numpy.ones((3, 2))
    assert product.tolist() == [[3.0, 3.0], [12.0, 12.0]], product
    return f"numpy {numpy.__version__}", {"numpy": numpy.__version__}


def torch():
    """Tensors: import it, go to NumPy and back, differentiate."""
    import numpy
    import torch

    x = torch.from_numpy(numpy.arange(4, dtype=numpy.float32)).requires_grad_()
    (x * x).sum().backward()
    assert x.grad.numpy().tolist() == [0.0, 2.0, 4.0, 6.0], x.grad
    detail = f"torch {torch.__version__}"
    if torch.version.cuda is not None:
        nccl = ".".join(map(str, torch.cuda.nccl.version()))
        detail += f", CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, NCCL {nccl}"
    return detail, {"torch": torch.__version__}


def triton():
    """The kernel compiler: import it and compile for a GPU that need not be here."""
    if importlib.util.find_spec("triton") is None:
        raise Skip("the image has no triton")
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    types = {"source": "*fp32", "target": "*fp32", "count": "i32"}
    made = triton.compile(ASTSource(fn=kernel(), signature=types), target=GPUTarget("cuda", 90, 32))
    size = len(made.asm["cubin"])
    assert size > 0, "an empty binary"
    return f"triton {triton.__version__}, a kernel of {size} bytes for sm_90", {"triton": triton.__version__}


# --------------------------------------------------------------------------------------- what it can build


def c_extension():
    """A Python extension: compile it with gcc and the image's headers, import it, call it."""
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "extension.c")
        with open(source, "w") as f:
            f.write(EXTENSION)
        target = os.path.join(folder, "selftest_extension" + sysconfig.get_config_var("EXT_SUFFIX"))
        child("gcc", "-Werror", "-shared", "-fPIC", "-I", sysconfig.get_path("include"), source, "-o", target)
        module = load("selftest_extension", target)
        assert module.answer() == 42, module.answer()
        return f"gcc made {os.path.getsize(target)} bytes, and they answer", {}


def inductor():
    """A compiled function on the CPU: Inductor writes C++, g++ builds it, the numbers agree."""
    import torch

    def function(x):
        return torch.nn.functional.gelu(x * 2 + 1).sum(dim=1)

    x = torch.linspace(-3, 3, 1024).reshape(32, 32)
    torch.testing.assert_close(torch.compile(function, fullgraph=True)(x), function(x))
    cache = os.environ["TORCHINDUCTOR_CACHE_DIR"]
    built = glob.glob(os.path.join(cache, "**", "*.so"), recursive=True)
    assert built, f"nothing was built in {cache}"
    return f"g++ built {len(built)} libraries, the numbers agree", {}


def custom_operator():
    """A compiled operator whose gradient has another memory layout than declared, as in records 19 to 21."""
    if os.environ.get("TORCHINDUCTOR_SIZE_ASSERTS") != "0":
        raise Skip("Inductor may refuse it here")
    import torch

    with tempfile.TemporaryDirectory(dir=".") as folder:
        path = os.path.join(folder, "selftest_operator.py")
        with open(path, "w") as f:
            f.write(OPERATOR)
        product = load("selftest_operator", path).product
        x, w = torch.linspace(-1, 1, 32 * 48).reshape(32, 48), torch.linspace(-1, 1, 96 * 48).reshape(96, 48)
        found, expected = w.clone().requires_grad_(), w.clone().requires_grad_()
        torch.compile(lambda weight: product(x, weight)[0].square().sum())(found).backward()
        (x @ expected.t()).square().sum().backward()
    torch.testing.assert_close(found.grad, expected.grad)
    return f"its gradient agrees, with strides {found.grad.stride()}", {}


# ---------------------------------------------------------------------------------------- several processes


def gloo():
    """Two ranks on CPUs, started by torchrun on loopback, add their tensors."""
    return ranks("gloo", 2), {}


def nccl():
    """One rank per GPU adds its tensor."""
    return ranks("nccl", visible_gpus()), {}


def triton_kernel():
    """A kernel on the GPU: its numbers agree with torch's."""
    visible_gpus()
    import torch

    x = torch.arange(1000, dtype=torch.float32, device="cuda")
    y = torch.empty_like(x)
    kernel()[(4,)](x, y, 1000)
    assert torch.equal(y, 2 * x), "the numbers differ"
    return f"the numbers agree on {torch.cuda.get_device_name()}", {}


def visible_gpus():
    """Count the GPUs that torch sees."""
    import torch

    if torch.version.cuda is None:
        raise Skip("the image's torch is built without CUDA")
    if not torch.cuda.is_available():
        raise Skip("no GPU is visible")
    return torch.cuda.device_count()


def ranks(backend, count):
    """Start `count` ranks of this file as a run's are started; every one must print the sum."""
    said = child(
        "torchrun",
        "--nnodes=1",
        f"--nproc_per_node={count}",
        "--master_addr=127.0.0.1",
        f"--master_port={PORT}",
        os.path.abspath(__file__),
        backend,
    )
    expected = [f"rank {rank} of {count}: {count * (count + 1) // 2}" for rank in range(count)]
    found = sorted(line for line in said.splitlines() if line.startswith("rank "))
    assert found == sorted(expected), f"the ranks said {found}"
    return f"ranks that agree on the sum: {count}"


def rank(backend):
    """Be one rank: add rank + 1 over all of them."""
    import torch
    import torch.distributed as dist

    device = "cpu"
    if backend == "nccl":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        device = "cuda"
    dist.init_process_group(backend)
    x = torch.full((1024,), dist.get_rank() + 1, dtype=torch.float32, device=device)
    dist.all_reduce(x)
    assert x.min() == x.max(), "not every element was added"
    print(f"rank {dist.get_rank()} of {dist.get_world_size()}: {x[0].item():.0f}")
    dist.destroy_process_group()


# -------------------------------------------------------------------------------------------------- pieces


def child(*argv):
    """Run a program and return what it printed; its last words are the message if it fails."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{argv[0]} did not end within {PATIENCE_S} s") from None
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise RuntimeError(f"{argv[0]} exited with {done.returncode}: {words[-1] if words else 'no word'}")
    return done.stdout


def load(name, path):
    """Import one file under a name."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def kernel():
    """Return the Triton kernel; Triton reads its source, so it has to be in a file."""
    path = os.path.abspath("selftest_kernel.py")
    with open(path, "w") as f:
        f.write(KERNEL)
    return load("selftest_kernel", path).double


CHECKS = (
    python, packages, numpy, torch, triton, c_extension, inductor, custom_operator, gloo, nccl, triton_kernel,
)  # fmt: skip


def main():
    """Run every check and report each as soon as it is done."""
    # Libraries must not write into the report: give them stderr for stdout, and keep stdout for it.
    report = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    for check in CHECKS:
        began = time.monotonic()
        versions = {}
        try:
            detail, versions = check()
            outcome = "passed"
        except Skip as e:
            detail, outcome = str(e), "skipped"
        except Exception as e:  # any surprise is a failed check, told to the host
            detail, outcome = f"{type(e).__name__}: {e}", "failed"
        answer = {
            "check": check.__name__.replace("_", "-"),
            "outcome": outcome,
            "detail": " ".join(detail.split())[:DETAIL] or "no word",
            "seconds": round(time.monotonic() - began, 3),
            "versions": versions,
        }
        report.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main() if len(sys.argv) == 1 else rank(sys.argv[1])
