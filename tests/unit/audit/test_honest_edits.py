"""Ordinary work on optimizers, attention and kernels uses nothing that a reviewer has to look at."""

from __future__ import annotations

import pytest

from kit.audit import source
from kit.audit.finding import Finding, Outcome
from kit.audit.source import SourceFile
from kit.core.facts import guest_file

REFERENCE = guest_file("train_reference.py").read_text()
HEAD, MARK, TAIL = REFERENCE.partition('if __name__ == "__main__":')
START = (SourceFile("train_gpt2.py", REFERENCE.encode()),)

EDITS = {
    "a fused optimizer": """
class Lion(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            for p in params:
                state = self.state[p]
                if "mean" not in state:
                    state["mean"] = torch.zeros_like(p)
            means = [self.state[p]["mean"] for p in params]
            grads = [p.grad for p in params]
            updates = torch._foreach_lerp(means, grads, 1 - group["betas"][0])
            torch._foreach_sign_(updates)
            torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(params, updates, alpha=-group["lr"])
            torch._foreach_lerp_(means, grads, 1 - group["betas"][1])
""",
    "flexible attention with windows": """
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

def window(size):
    def mask(b, h, q, k):
        return (q >= k) & (q - k < size)
    return mask

class Windowed(nn.Module):
    def __init__(self, width, heads, size):
        super().__init__()
        self.heads, self.size = heads, size
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        nn.init.orthogonal_(self.qkv.weight, gain=0.5)

    def forward(self, x: Tensor, block_mask: BlockMask | None = None) -> Tensor:
        n, t, width = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        block_mask = block_mask or create_block_mask(window(self.size), None, None, t, t)
        return flex_attention(q, k, v, block_mask=block_mask).transpose(1, 2).flatten(-2)
""",
    "a triton kernel": """
import triton
import triton.language as tl

@triton.autotune(configs=[triton.Config({"BLOCK": 128}, num_warps=4)], key=["n"])
@triton.jit
def scale_kernel(x_ptr, out_ptr, n, factor, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n, other=0.0)
    tl.store(out_ptr + at, tl.where(x > 0, x * factor, x), mask=at < n)

def scaled(x):
    out = torch.empty_like(x)
    scale_kernel[lambda meta: (triton.cdiv(x.numel(), meta["BLOCK"]),)](x, out, x.numel(), 2.0)
    return out
""",
    "a custom operator in float8": """
@torch.library.custom_op("nanogpt::mm", mutates_args=())
def mm_op(x: Tensor, w: Tensor, scale: float) -> Tensor:
    return torch._scaled_mm(x.to(torch.float8_e4m3fn), w.to(torch.float8_e4m3fn).T, out_dtype=torch.bfloat16)

@mm_op.register_fake
def _(x: Tensor, w: Tensor, scale: float) -> Tensor:
    return x @ w.T

def backward(ctx, grad):
    x, w = ctx.saved_tensors
    return grad @ w, grad.T @ x, None

def setup_context(ctx, inputs, output):
    ctx.save_for_backward(*inputs[:2])
    ctx.set_materialize_grads(False)

mm_op.register_autograd(backward, setup_context=setup_context)

def head(x, w):
    return torch.ops.nanogpt.mm(x, w, 1.0)
""",
    "an operator of another name": """
@torch.library.custom_op("mine::twice", mutates_args=())
def twice(x: Tensor) -> Tensor:
    return x * 2

def four_times(x):
    return torch.ops.mine.twice(torch.ops.mine.twice.default(x))
""",
    "an autograd function": """
class Squared(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.relu().square()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 2 * grad * x.relu()

activation = Squared.apply
""",
    "hooks that overlap communication": """
class Overlap:
    def __init__(self, params):
        self.futures = {}
        for p in params:
            p.register_post_accumulate_grad_hook(self.reduce)

    def reduce(self, p):
        share = torch.empty_like(p.grad)
        work = dist.reduce_scatter_tensor(share, p.grad, op=dist.ReduceOp.AVG, async_op=True)
        self.futures[id(p)] = work.get_future()

    def finish(self):
        torch.futures.collect_all(list(self.futures.values())).wait()
        self.futures.clear()
        dist.all_gather_into_tensor(torch.empty(8), torch.empty(1))
""",
    "a schedule": """
@dataclass
class Schedule:
    steps: int
    warmup: int = 100
    stages: tuple = ((0.3, 1.0), (1.0, 0.1))

    def at(self, step: int) -> float:
        part = step / self.steps
        if step < self.warmup:
            return math.sin(0.5 * math.pi * step / self.warmup)
        end, value = next((s for s in self.stages if part <= s[0]), self.stages[-1])
        return value * 0.5 * (1 + math.cos(math.pi * part)) if part < end else min(v for _, v in self.stages)

def set_rates(optimizers, schedule, step):
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group.get("initial_lr", group["lr"]) * schedule.at(step)
            group.setdefault("momentum", 0.95)
""",
    "averaged and reset weights": """
import copy
from collections import defaultdict
from functools import lru_cache, partial
from itertools import accumulate, pairwise

@torch.inference_mode()
def averaged(model, other, beta=0.99):
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        a.data.lerp_(b.data, 1 - beta)
    state = copy.deepcopy(model.state_dict())
    model.load_state_dict(state)
    del state
    torch.cuda.empty_cache()

@lru_cache(1)
def rotary(t, half):
    angles = torch.outer(torch.arange(t, dtype=torch.float32), (1 / 1024) ** torch.linspace(0, 1, steps=half))
    return angles.cos(), angles.sin()

sizes = [b - a for a, b in pairwise(accumulate([1, 2, 3], initial=0))]
groups = defaultdict(list)
step_fn = partial(averaged, beta=0.9)
""",
    "value embeddings and gates": """
class Gated(nn.Module):
    def __init__(self, width, layers):
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(50304, width) for _ in range(layers)])
        self.lambdas = nn.Parameter(torch.tensor([0.5, 0.5]))
        self.register_buffer("ramp", torch.linspace(0, 1, layers), persistent=False)
        self.gate = nn.Linear(12, 1, bias=False)
        self.gate.weight.detach().zero_()
        self.gate.weight.wd_mul = 0.0

    def forward(self, x, rows):
        values = [table(rows).bfloat16() for table in self.tables]
        gate = torch.sigmoid(self.gate(x[..., : self.gate.weight.size(-1)]))
        mixed = self.lambdas[0] * x + self.lambdas[1] * gate * torch.stack(values).mean(0)
        return F.rms_norm(mixed * self.ramp.sum(), (mixed.size(-1),))
""",
    "reading the mounted shards by another batch": """
class Packed(TrainStream):
    def take(self, count):
        window = super().take(count)
        edges = np.flatnonzero(window == BOS)
        first = int(edges[0]) if len(edges) else 0
        return np.roll(window, -first)

    def ahead(self):
        order = torch.randperm(len(self.shards), generator=torch.Generator().manual_seed(1)).tolist()
        return [self.shards[i] for i in order if i != self.shard]
""",
    "ordinary Python": """
import abc
import functools
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Generic, TypeVar

class Phase(Enum):
    WARM = "warm"
    COLD = "cold"

@dataclass(frozen=True, slots=True)
class Setting:
    name: str = "x"
    betas: tuple[float, float] = (0.9, 0.95)
    scales: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert 0 < self.betas[0] < 1, f"{self.betas[0]!r:>8}"

class Level:
    @property
    def value(self) -> float:
        return float(torch.asarray([0.5, self.low])[0])

    @value.setter
    def value(self, low: float) -> None:
        self.low = low

T = TypeVar("T")

class Scale(abc.ABC, nn.Module):
    pass

class Both(Generic[T], Scale):
    pass

class Levels(dict):
    def __getitem__(self, key):
        return super().__getitem__(key.lower())

    def __setitem__(self, key, value):
        super().__setitem__(key.lower(), value)

def noted(f):
    @functools.wraps(f)
    def inner(*args, **kwargs):
        return f(*args, **kwargs)
    return inner

@noted
def pick(phase: Phase, values: list[float]) -> float:
    match phase:
        case Phase.WARM if (n := len(values)) > 1:
            return max(values, key=lambda v: v * n)
        case _:
            return sum(v for v in values)

class Gains(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.gains = nn.ParameterList([nn.Parameter(torch.ones(1)) for _ in range(n)])
        self.named = nn.ModuleDict({"a": nn.Linear(1, 1)})

    def forward(self, x: Tensor) -> Tensor:
        return self.named["a"](x * self.gains[0]) if type(self).__name__ else x

def shown(x: np.ndarray | None, y: "np.ndarray") -> np.ndarray:
    if isinstance(x, np.ndarray) and type(x) is type(y):
        print(type(x), f"{type(y)}", type(x).__name__)
    z: np.ndarray = np.asarray([0.5])
    return z

torch.save({"phase": Phase("warm").value}, f"logs/{int(pick(Phase.COLD, [1.0]))}.pt")
""",
    "a loop over numbers": """
def quintics(count: int = 5) -> list[tuple[float, float, float]]:
    found = []
    for n in range(count):
        try:
            a, b, c = QUINTICS[n]
        except IndexError:
            raise ValueError(f"there is no quintic {n!r}") from None
        match round(a):
            case 8 | 4:
                found.append((a, b, c))
            case int(other) if other > 0:
                found.append((a * 1.01, b, c))
    return sorted(found, key=lambda q: -q[0])
""",
}


def failed(code: str, *more: SourceFile) -> dict[str, Finding]:
    script = SourceFile("train_gpt2.py", f"{HEAD}{code}\n\n{MARK}{TAIL}".encode())
    return {f.id: f for f in source.judge((script, *more), START) if f.outcome is Outcome.FAILED}


@pytest.mark.parametrize("code", EDITS.values(), ids=EDITS)
def test_ordinary_work_passes_every_rule(code: str) -> None:
    assert failed(code) == {}


def test_a_script_may_be_divided_into_modules() -> None:
    parts = (
        SourceFile("layers/__init__.py", b"from layers.norms import norm as norm\n"),
        SourceFile(
            "layers/norms.py",
            b"import torch.nn.functional as F\ndef norm(x):\n    return F.rms_norm(x, (8,))\n",
        ),
        SourceFile(
            "triton_kernels.py",
            EDITS["a triton kernel"].encode().replace(b"def scaled", b"import torch\ndef scaled"),
        ),
    )
    code = "import layers.norms\nfrom layers import norm as scale_norm\nfrom triton_kernels import scaled\n"
    assert failed(code + "y = layers.norms.norm\nz = [scaled, scale_norm]\n", *parts) == {}


def test_a_time_may_be_taken_where_the_start_script_takes_it() -> None:
    assert set(failed("began = time.perf_counter()\n")) == {"source.timer"}
    assert "source.allowed" in failed("began = time.monotonic()\n")
