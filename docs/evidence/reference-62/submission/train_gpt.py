"""
Reference trainer: a GPT-2-sized language model on FineWeb shards. Runs inside an image; imports no kit.

    torchrun --nproc_per_node=8 train_reference.py                 (GPT-2 124M, CUDA, NCCL)
    torchrun --nproc_per_node=2 train_reference.py --width 64 ...  (CPU, gloo)

Reads shards (256 int32 of header, then uint16 tokens) by the benchmark's conventions: the globs below, or
NANOGPT_TRAIN_FILES and NANOGPT_VAL_FILES, after DATA_PATH; NANOGPT_VAL_TOKENS tokens are scored. Prints
nothing on stdout but the benchmark's `step` lines. The same seed and batch give the same curve, within
rounding, for every world size that divides the batch.
"""

from __future__ import annotations

import argparse
import glob
import math
import os
import resource
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NoReturn

STAGES = []


def stage(text, team=None):
    if text in STAGES:
        return
    STAGES.append(text)
    if team is not None:
        team.wait()
    if os.environ.get("RANK", "0") == "0":
        print(f"stage: {text}", flush=True)


stage("script begun")

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

stage("torch imported")

TRAIN_FILES = "data/fineweb10B/fineweb_train_*.bin"
VAL_FILES = "data/fineweb10B/fineweb_val_*.bin"
VAL_TOKENS = 10_485_760
UNTIMED_STEPS = 0
BOS = 50256
MAGIC, VERSION, HEADER_BYTES = 20240520, 1, 1024


class Fault(Exception):
    """The run cannot go on; said in one line."""


# ---------------------------------------------------------------------------------------------- options


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting."""
        raise Fault(f"{message}; see --help")


def options(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the arguments; the defaults are GPT-2 124M on 8 GPUs."""
    p = Parser(description="reference GPT trainer", allow_abbrev=False)
    p.add_argument("--steps", type=int, default=5100, help="optimizer steps")
    p.add_argument("--batch-tokens", type=int, default=524_288, help="tokens per step, over all ranks")
    p.add_argument("--seq-len", type=int, default=1024, help="tokens per sequence")
    p.add_argument("--micro-batch", type=int, default=32, help="most sequences per forward pass and rank")
    p.add_argument("--layers", type=int, default=12)
    p.add_argument("--heads", type=int, default=6)
    p.add_argument("--width", type=int, default=768)
    p.add_argument("--vocab-size", type=int, default=50_304, help="below 50257, the last row stands for BOS")
    p.add_argument("--lr-matrix", type=float, default=0.02, help="Muon")
    p.add_argument("--lr-embed", type=float, default=0.3, help="AdamW: embedding")
    p.add_argument("--lr-head", type=float, default=0.003, help="AdamW: output layer")
    p.add_argument("--weight-decay", type=float, default=0.0, help="times the learning rate")
    p.add_argument("--momentum", type=float, default=0.95, help="of Muon")
    p.add_argument(
        "--cooldown", type=float, default=0.4, help="last part of the steps, with linear decay to 0"
    )
    p.add_argument(
        "--val-every", type=int, default=125, help="steps between validations; 0 for the last only"
    )
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--no-compile", action="store_true", help="never torch.compile")
    a = p.parse_args(argv)
    if min(a.steps, a.batch_tokens, a.seq_len, a.micro_batch, a.layers, a.heads, a.width) < 1:
        raise Fault("steps, sizes and counts must be at least 1")
    if a.batch_tokens % a.seq_len:
        raise Fault(f"--batch-tokens {a.batch_tokens} is not a multiple of --seq-len {a.seq_len}")
    if a.width % a.heads or a.width // a.heads % 2:
        raise Fault(f"--width {a.width} does not give {a.heads} heads of an even size")
    return a


# ------------------------------------------------------------------------------------------------- data


def find_shards(variable: str, default: str) -> list[str]:
    """Return the sorted files of a glob: the variable's or the default, after DATA_PATH."""
    pattern = os.path.join(os.environ.get("DATA_PATH", ""), os.environ.get(variable) or default)
    found = sorted(glob.glob(pattern))
    if not found:
        raise Fault(f"no shard matches {pattern}; set {variable} or DATA_PATH")
    return found


def open_shard(path: str) -> np.ndarray:
    """Map a shard's tokens (uint16), after checking its header against its size."""
    return np.memmap(path, dtype="<u2", mode="r", offset=HEADER_BYTES)


def as_rows(tokens: np.ndarray, vocab_size: int) -> Tensor:
    """Turn token ids into rows of the embedding; a small vocabulary keeps BOS in its last row."""
    rows = tokens.astype(np.int64)
    if vocab_size <= BOS:
        rows[rows == BOS] = vocab_size - 1
    if len(rows) and rows.max() >= vocab_size:
        raise Fault(f"token {rows.max()} is outside --vocab-size {vocab_size}")
    return torch.from_numpy(rows)


class TrainStream:
    """An endless stream of batches; a shard's tail that fills no batch is left out."""

    def __init__(self, files: list[str], need: int) -> None:
        """Open the shards that hold at least `need` tokens."""
        self.shards = [s for s in map(open_shard, files) if len(s) >= need]
        if not self.shards:
            raise Fault(f"no training shard holds a batch of {need} tokens")
        self.shard = self.position = 0

    def take(self, count: int) -> np.ndarray:
        """Return the next `count` + 1 tokens, and move on by `count`."""
        if self.position + count + 1 > len(self.shards[self.shard]):
            self.shard, self.position = (self.shard + 1) % len(self.shards), 0
        window = self.shards[self.shard][self.position : self.position + count + 1]
        self.position += count
        return window


def val_window(files: list[str], count: int) -> np.ndarray:
    """Return the first `count` + 1 tokens of the validation shards."""
    parts, missing = [], count + 1
    for path in files:
        parts.append(open_shard(path)[:missing])
        missing -= len(parts[-1])
        if not missing:
            return np.concatenate(parts)
    raise Fault(f"the validation shards lack {missing} of {count + 1} tokens")


def val_size(seq_len: int) -> int:
    """Return how many tokens are scored."""
    said = os.environ.get("NANOGPT_VAL_TOKENS") or str(VAL_TOKENS)
    if not said.isdecimal() or int(said) < 1 or int(said) % seq_len:
        raise Fault(f"NANOGPT_VAL_TOKENS={said} is not a positive multiple of --seq-len {seq_len}")
    return int(said)


# ------------------------------------------------------------------------------------------------ model


def norm(x: Tensor) -> Tensor:
    """Scale the last dimension to a root mean square of 1."""
    return F.rms_norm(x, (x.size(-1),))


class Attention(nn.Module):
    """Causal attention with rotary positions and normalised queries and keys."""

    def __init__(self, width: int, heads: int, seq_len: int) -> None:
        """Make three stacked projections; the output projection starts at 0."""
        super().__init__()
        self.heads = heads
        self.qkv = nn.Parameter(torch.randn(3, width, width) * width**-0.5)
        self.out = nn.Parameter(torch.zeros(width, width))
        half = width // heads // 2
        angle = torch.outer(torch.arange(seq_len), 1e4 ** (-torch.arange(half) / half))
        self.register_buffer("cos", angle.cos()[:, None], persistent=False)
        self.register_buffer("sin", angle.sin()[:, None], persistent=False)

    def rotate(self, x: Tensor) -> Tensor:
        """Turn each pair (i, i + half) of a head by its position times its frequency."""
        t = x.size(1)
        cos, sin = self.cos[:t].to(x.dtype), self.sin[:t].to(x.dtype)
        a, b = x.chunk(2, dim=-1)
        return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, time, width) to the same shape."""
        n, t, width = x.shape
        q, k, v = (
            part.view(n, t, self.heads, -1) for part in F.linear(x, self.qkv.flatten(0, 1)).chunk(3, -1)
        )
        q, k = self.rotate(norm(q)), self.rotate(norm(k))
        y = F.scaled_dot_product_attention(*(z.transpose(1, 2) for z in (q, k, v)), is_causal=True)
        return F.linear(y.transpose(1, 2).reshape(n, t, width), self.out)


class Block(nn.Module):
    """Attention, then a squared-ReLU layer of four times the width, each added to the stream."""

    def __init__(self, width: int, heads: int, seq_len: int) -> None:
        """Make the layers; both write 0 at first."""
        super().__init__()
        self.attention = Attention(width, heads, seq_len)
        self.up = nn.Parameter(torch.randn(4 * width, width) * width**-0.5)
        self.down = nn.Parameter(torch.zeros(width, 4 * width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, time, width) to the same shape."""
        x = x + self.attention(norm(x))
        return x + F.linear(F.relu(F.linear(norm(x), self.up)).square(), self.down)


class Model(nn.Module):
    """A decoder; its output layer starts at 0, so the first loss is exactly ln(vocab_size)."""

    def __init__(self, a: argparse.Namespace) -> None:
        """Make the layers from the arguments."""
        super().__init__()
        self.embed = nn.Embedding(a.vocab_size, a.width)
        self.blocks = nn.ModuleList(Block(a.width, a.heads, a.seq_len) for _ in range(a.layers))
        self.head = nn.Linear(a.width, a.vocab_size, bias=False)
        nn.init.zeros_(self.head.weight)

    def forward(self, rows: Tensor, targets: Tensor) -> Tensor:
        """Return the summed loss of (batch, time) targets, in nats; softmax and sum are float32."""
        x = norm(self.embed(rows))
        for block in self.blocks:
            x = block(x)
        logits = self.head(norm(x)).float()
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")


# -------------------------------------------------------------------------------------------- optimizer

QUINTICS = (
    (7.9903, -21.4146, 14.3983),
    (3.8753, -2.6212, 0.4494),
    (3.4469, -2.3549, 0.4249),
    (2.5732, -1.7706, 0.3742),
    (1.9339, -1.2676, 0.3421),
)
"""
Each (a, b, c) is the odd quintic ax + bx^3 + cx^5 nearest to 1 (minimax, by Remez exchange) on the interval
to which those before it bring [0.003, 1], widened by 1 / 1.02 below and 1.05 above: without that room the
rounding of bfloat16 can push a singular value beyond the interval, where the next quintic blows it up.
Together they bring [0.003, 1] to 1 +- 0.02.
"""


def orthogonalise(m: Tensor) -> Tensor:
    """
    Return nearly the orthogonal polar factor of each matrix (..., rows, columns).

    An odd polynomial p(M) = aM + b(MM')M + c(MM')^2 M acts on the singular values alone, so iterating
    polynomials that bring [0.003, 1] towards 1 makes M = USV' into UV' without a decomposition.
    """
    wide = m.size(-2) <= m.size(-1)
    x = (m if wide else m.mT).to(torch.bfloat16 if m.is_cuda else torch.float32)
    x = x / (1.02 * x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for a, b, c in QUINTICS:
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.mT


class Muon:
    """
    Nesterov momentum whose steps are orthogonalised, for hidden matrices.

    The matrices are dealt out to the ranks; each rank orthogonalises its own, and one sum brings the steps
    to all. A step has a root mean square of about lr / sqrt(columns), whatever the gradient's size.
    """

    def __init__(
        self, params: list[nn.Parameter], lr: float, momentum: float, decay: float, team: Team
    ) -> None:
        """Deal out the matrices, the largest first."""
        self.params = sorted(params, key=Tensor.numel, reverse=True)
        self.lr, self.momentum, self.decay, self.team = lr, momentum, decay, team
        self.velocity = {
            i: torch.zeros_like(self.params[i]) for i in range(team.rank, len(params), team.size)
        }

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """Move every matrix by its learning rate times `scale`."""
        sizes = [p.numel() for p in self.params]
        first = self.params[0]
        steps = torch.zeros(
            sum(sizes), device=first.device, dtype=torch.bfloat16 if first.is_cuda else torch.float32
        )
        parts = steps.split(sizes)
        for i, velocity in self.velocity.items():
            p = self.params[i]
            velocity.lerp_(p.grad, 1 - self.momentum)
            aimed = p.grad.lerp(velocity, self.momentum)
            parts[i].view_as(p).copy_(orthogonalise(aimed))
        self.team.sum(steps)
        lr = self.lr * scale
        for p, part in zip(self.params, parts, strict=True):
            p.mul_(1 - lr * self.decay)
            p.add_(part.view_as(p), alpha=-lr * max(1.0, p.size(-2) / p.size(-1)) ** 0.5)


class AdamW:
    """
    Adam with decoupled weight decay, for embedding and output layer.

    Written out because torch.optim imports torch's compiler, which costs each CPU rank two seconds.
    """

    def __init__(self, params: list[nn.Parameter], lrs: list[float], decay: float) -> None:
        """Give each parameter its own learning rate."""
        self.params, self.lrs, self.decay, self.steps = params, lrs, decay, 0
        self.means = [torch.zeros_like(p) for p in params]
        self.squares = [torch.zeros_like(p) for p in params]

    @torch.no_grad()
    def step(self, scale: float, beta1: float = 0.9, beta2: float = 0.95, eps: float = 1e-10) -> None:
        """Move every parameter by its learning rate times `scale`."""
        self.steps += 1
        scale1, scale2 = 1 - beta1**self.steps, 1 - beta2**self.steps
        for p, base, mean, square in zip(self.params, self.lrs, self.means, self.squares, strict=True):
            lr = base * scale
            mean.lerp_(p.grad, 1 - beta1)
            square.lerp_(p.grad.square(), 1 - beta2)
            p.mul_(1 - lr * self.decay)
            p.addcdiv_(mean, (square / scale2).sqrt_().add_(eps), value=-lr / scale1)


# ------------------------------------------------------------------------------------------ ranks, time


@dataclass(frozen=True)
class Team:
    """The ranks of this run, and this one's device."""

    rank: int
    size: int
    device: torch.device

    def sum(self, x: Tensor) -> None:
        """Sum over the ranks, in place."""
        if dist.is_initialized():
            dist.all_reduce(x)

    def precision(self) -> AbstractContextManager[object]:
        """Compute in bfloat16 on CUDA, in float32 elsewhere."""
        return torch.autocast("cuda", torch.bfloat16) if self.device.type == "cuda" else nullcontext()

    def wait(self) -> None:
        """Wait for the device, so that a clock reads finished work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def assemble() -> Team:
    """Join the process group that torchrun describes, if any."""
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if torch.cuda.is_available():
        if local >= torch.cuda.device_count():
            raise Fault(f"rank {rank} wants GPU {local}, but there are {torch.cuda.device_count()}")
        torch.cuda.set_device(local)
        torch.set_float32_matmul_precision("high")
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    stage("device set")
    if "RANK" in os.environ:
        if device.type == "cpu" and os.environ.get("LOCAL_WORLD_SIZE") == str(size):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # one machine: no host name need resolve
        if device.type == "cuda":
            dist.init_process_group("nccl", device_id=device)
        else:
            dist.init_process_group("gloo")
    return Team(rank, size, device)


class Clock:
    """Milliseconds of training: stopped while validating, started anew after the untimed steps."""

    def __init__(self, team: Team) -> None:
        """Start it."""
        self.team, self.spent, self.since = team, 0.0, time.perf_counter()

    def stop(self) -> None:
        """Stop, once the device has finished."""
        self.team.wait()
        self.spent += 1000 * (time.perf_counter() - self.since)

    def start(self, anew: bool = False) -> None:
        """Go on, or begin from 0."""
        self.team.wait()
        self.since = time.perf_counter()
        self.spent = 0.0 if anew else self.spent

    def line(self, step: int, running: bool) -> str:
        """Say the time and its mean over the timed steps, in the words of the benchmark's logs."""
        spent = self.spent + (1000 * (time.perf_counter() - self.since) if running else 0.0)
        timed = step - UNTIMED_STEPS
        return f"train_time:{spent:.0f}ms step_avg:{spent / timed if timed > 0 else math.nan:.2f}ms"


# ---------------------------------------------------------------------------------------------- the run


class Trainer:
    """One run on one rank."""

    def __init__(self, a: argparse.Namespace, team: Team, stream: TrainStream, val: Tensor) -> None:
        """Build model and optimizers, the same on every rank."""
        sequences = a.batch_tokens // a.seq_len
        if sequences % team.size:
            raise Fault(f"a batch of {sequences} sequences does not divide into {team.size} ranks")
        self.a, self.team, self.stream = a, team, stream
        self.share = sequences // team.size
        self.micro = max(m for m in range(1, min(a.micro_batch, self.share) + 1) if self.share % m == 0)
        self.scored_count = len(val) - 1
        mine = slice(team.rank, None, team.size)
        self.val = tuple(x.view(-1, a.seq_len)[mine].clone() for x in (val[:-1], val[1:]))
        torch.manual_seed(a.seed)
        self.model = Model(a).to(team.device)
        stage("model on the device", team)
        matrices = list(self.model.blocks.parameters())
        self.muon = Muon(matrices, a.lr_matrix, a.momentum, a.weight_decay, team)
        tables = [self.model.embed.weight, self.model.head.weight]
        self.adam = AdamW(tables, [a.lr_embed, a.lr_head], a.weight_decay)
        self.params = list(self.model.parameters())
        compiled = team.device.type == "cuda" and not a.no_compile
        self.loss = torch.compile(self.model, dynamic=False) if compiled else self.model

    def summed_loss(self, rows: Tensor, targets: Tensor) -> Tensor:
        """Return the float32 sum of the losses of a few sequences."""
        device = self.team.device
        with self.team.precision():
            return self.loss(rows.to(device, non_blocking=True), targets.to(device, non_blocking=True))

    @torch.no_grad()
    def validate(self) -> float:
        """Return the mean loss over the whole window, in nats."""
        total = torch.zeros((), dtype=torch.float64, device=self.team.device)
        for rows, targets in zip(*(x.split(self.micro) for x in self.val), strict=True):
            total += self.summed_loss(rows, targets)
            stage("first forward of the validation", self.team)
        self.team.sum(total)
        return total.item() / self.scored_count

    def scale(self, step: int) -> float:
        """Return what the learning rates are multiplied by: 1, then a line to 0."""
        return min(1.0, (self.a.steps - step) / max(1.0, self.a.cooldown * self.a.steps))

    def train(self, step: int) -> None:
        """Take one step: this rank's share of the batch, the summed gradient, both optimizers."""
        a = self.a
        batch = as_rows(self.stream.take(a.batch_tokens), a.vocab_size)
        mine = slice(self.team.rank * self.share, (self.team.rank + 1) * self.share)
        share = (x.view(-1, a.seq_len)[mine].split(self.micro) for x in (batch[:-1], batch[1:]))
        for rows, targets in zip(*share, strict=True):
            loss = self.summed_loss(rows, targets) / a.batch_tokens
            stage("first forward of the training", self.team)
            loss.backward()
            stage("first backward", self.team)
        stage("gradient of the first step", self.team)
        if dist.is_initialized():
            flat = torch.cat([p.grad.flatten() for p in self.params])
            self.team.sum(flat)
            for p, part in zip(self.params, flat.split([p.numel() for p in self.params]), strict=True):
                p.grad.copy_(part.view_as(p))
        stage("gradients summed over the ranks", self.team)
        scale = self.scale(step)
        self.adam.step(scale)
        self.muon.step(scale)
        stage("first optimizer step", self.team)
        for p in self.params:
            p.grad = None

    def run(self) -> None:
        """Train to the last step, printing the benchmark's lines on rank 0."""
        total, every = self.a.steps, self.a.val_every
        clock = Clock(self.team)
        for step in range(total + 1):
            if step == total or (every and step % every == 0):
                clock.stop()
                loss = self.validate()
                if not math.isfinite(loss):
                    raise Fault(f"the validation loss at step {step} is {loss}")
                self.say(f"step:{step}/{total} val_loss:{loss:.4f} {clock.line(step, running=False)}")
                clock.start()
            if step == total:
                break
            if step == UNTIMED_STEPS:
                clock.start(anew=True)
            self.train(step)
            self.say(f"step:{step + 1}/{total} {clock.line(step + 1, running=True)}")
        self.say(memory_line(self.team))

    def say(self, line: str) -> None:
        """Print on rank 0, at once."""
        if self.team.rank == 0:
            print(line, flush=True)


def memory_line(team: Team) -> str:
    """Say the peak memory of this rank, in the words of the benchmark's logs; off CUDA, its resident set."""
    if team.device.type == "cuda":
        used, kept = torch.cuda.max_memory_allocated() >> 20, torch.cuda.max_memory_reserved() >> 20
    else:
        used = kept = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return f"peak memory allocated: {used} MiB reserved: {kept} MiB"


def leave(code: int) -> NoReturn:
    """
    End this rank.

    On CPUs the process group is not destroyed first: that joins gloo's threads while holding Python's lock,
    which a thread may want for the tensor that it reduced last (seen with torch 2.4.1: more often than not).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if dist.is_initialized():
        if dist.get_backend() == "gloo":
            sys.exit(code)
        dist.destroy_process_group()
    sys.exit(code)


def main(argv: list[str] | None = None) -> NoReturn:
    """
    Run, and exit with 0 or 1. Every failure is one line on stderr.

    A fault is the same on every rank, so rank 0 says it and all leave together. Other errors are one
    rank's own: it leaves at once, without the others, and torchrun ends those.
    """
    rank = os.environ.get("RANK", "0")
    try:
        a = options(argv)
        stream = TrainStream(find_shards("NANOGPT_TRAIN_FILES", TRAIN_FILES), a.batch_tokens + 1)
        scored = val_size(a.seq_len)
        val = as_rows(val_window(find_shards("NANOGPT_VAL_FILES", VAL_FILES), scored), a.vocab_size)
        stage("shards opened")
        team = assemble()
        stage("process group up", team)
        Trainer(a, team, stream, val).run()
    except Fault as e:
        if rank == "0":
            print(f"error: {e}", file=sys.stderr)
        leave(1)
    except (OSError, RuntimeError) as e:
        first = (str(e).strip().splitlines() or ["no message"])[0]
        print(f"error on rank {rank}: {type(e).__name__}: {first}", file=sys.stderr, flush=True)
        sys.exit(1)
    leave(0)


if __name__ == "__main__":
    main()
