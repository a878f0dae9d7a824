"""
Train a small language model on the smoke language, on CPUs. Record smoke-3.

    torchrun --nproc_per_node=2 train_gpt2.py [--steps N] [--val-every N] [--seed N]

Reads FineWeb-format shards (256 int32 of header, then uint16 tokens) and prints the benchmark's `step` lines.
"""

import argparse
import glob
import math
import os
import sys
import time

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

TRAIN_FILES = "data/fineweb10B/fineweb_train_*.bin"
VAL_FILES = "data/fineweb10B/fineweb_val_*.bin"
HEADER_BYTES = 1024
BOS = 50256
UNTIMED_STEPS = 10

VOCAB = 256  # the last row stands for BOS
SEQ_LEN = 64
BATCH = 32  # sequences per step, over all ranks
WIDTH = 64
HEADS = 2
STEPS = 72
COOLDOWN = 0.6  # of all steps, at the end, with a linear decay to 0
LR_MATRIX = 0.05
LR_TABLE = 0.05
LR_HEAD = 0.02
MOMENTUM = 0.95


# ------------------------------------------------------------------------------------------------- data


def read_tokens(variable, default, most):
    """Return the first `most` tokens of the shards that match, as rows of the embedding."""
    pattern = os.path.join(os.environ.get("DATA_PATH", ""), os.environ.get(variable) or default)
    parts = []
    for path in sorted(glob.glob(pattern)):
        tokens = np.memmap(path, dtype="<u2", mode="r", offset=HEADER_BYTES)
        parts.append(tokens[:most].astype(np.int64))
        most -= len(parts[-1])
        if not most:
            break
    if most:
        sys.exit(f"error: the shards {pattern} lack {most} tokens")
    rows = np.concatenate(parts)
    rows[rows == BOS] = VOCAB - 1
    return torch.from_numpy(rows)


# ------------------------------------------------------------------------------------------------ model


def norm(x):
    """Scale the last dimension to a root mean square of 1."""
    return F.rms_norm(x, (x.size(-1),))


class Attention(nn.Module):
    """Causal attention."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Parameter(torch.randn(3, WIDTH, WIDTH) * WIDTH**-0.5)
        self.out = nn.Parameter(torch.randn(WIDTH, WIDTH) * 0.5 * WIDTH**-0.5)

    def forward(self, x):
        n, t, _ = x.shape
        parts = F.linear(x, self.qkv.flatten(0, 1)).view(n, t, 3, HEADS, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        scores = (q[:, :, :, None] * k[:, :, None]).sum(-1) / math.sqrt(q.size(-1))
        future = torch.ones(t, t, dtype=torch.bool).triu(1)
        weights = scores.masked_fill(future, -math.inf).softmax(-1)
        y = (weights[..., None] * v[:, :, None]).sum(3)
        return F.linear(y.transpose(1, 2).reshape(n, t, WIDTH), self.out)


class MLP(nn.Module):
    """Two layers, four times the width between them."""

    def __init__(self):
        super().__init__()
        self.up = nn.Parameter(torch.randn(4 * WIDTH, WIDTH) * WIDTH**-0.5)
        self.down = nn.Parameter(torch.randn(WIDTH, 4 * WIDTH) * 0.25 * WIDTH**-0.5)

    def forward(self, x):
        return F.linear(F.gelu(F.linear(x, self.up)), self.down)


class Model(nn.Module):
    """One block between two tables; the output layer starts at 0, so the first loss is ln(VOCAB)."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Parameter(torch.randn(VOCAB, WIDTH) * 0.02)
        self.before = nn.Parameter(torch.randn(VOCAB, WIDTH) * 0.02)
        self.position = nn.Parameter(torch.randn(SEQ_LEN, WIDTH) * 0.02)
        self.attention = Attention()
        self.mlp = MLP()
        self.head = nn.Parameter(torch.zeros(VOCAB, WIDTH))

    def forward(self, rows, targets):
        """Return the summed loss of (sequences, time) targets, in nats."""
        before = F.pad(rows[:, :-1], (1, 0), value=VOCAB - 1)
        x = norm(F.embedding(rows, self.embed) + F.embedding(before, self.before) + self.position)
        x = x + self.attention(norm(x))
        x = x + self.mlp(norm(x))
        logits = F.linear(norm(x), self.head)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")


# -------------------------------------------------------------------------------------------- optimizer


class AdamW:
    """Adam with one learning rate for each group of parameters."""

    def __init__(self, groups):
        """Take pairs of a learning rate and a list of parameters."""
        self.groups = [(lr, p, torch.zeros_like(p), torch.zeros_like(p)) for lr, ps in groups for p in ps]
        self.steps = 0

    @torch.no_grad()
    def step(self, scale):
        """Move every parameter by its learning rate times `scale`."""
        self.steps += 1
        scale1, scale2 = 1 - 0.9**self.steps, 1 - 0.95**self.steps
        for lr, p, mean, square in self.groups:
            mean.lerp_(p.grad, 0.1)
            square.lerp_(p.grad.square(), 0.05)
            p.addcdiv_(mean, (square / scale2).sqrt_().add_(1e-8), value=-lr * scale / scale1)


QUINTICS = (
    (7.9903, -21.4146, 14.3983),
    (3.8753, -2.6212, 0.4494),
    (3.4469, -2.3549, 0.4249),
    (2.5732, -1.7706, 0.3742),
    (1.9339, -1.2676, 0.3421),
)  # odd polynomials that bring singular values from 0.003 .. 1 to nearly 1, one after the other


def orthogonalise(m):
    """Return nearly the matrix UV' of each matrix USV' (..., rows, columns)."""
    wide = m.size(-2) <= m.size(-1)
    x = m if wide else m.mT
    x = x / (1.02 * x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for a, b, c in QUINTICS:
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.mT


class Muon:
    """Nesterov momentum whose steps are orthogonalised, for matrices."""

    def __init__(self, params):
        self.params = [(p, torch.zeros_like(p)) for p in params]

    @torch.no_grad()
    def step(self, scale):
        """Move every matrix by the learning rate times `scale`."""
        for p, velocity in self.params:
            velocity.lerp_(p.grad, 1 - MOMENTUM)
            size = max(1.0, p.size(-2) / p.size(-1)) ** 0.5
            p.add_(orthogonalise(p.grad.lerp(velocity, MOMENTUM)), alpha=-LR_MATRIX * scale * size)


def optimizers(model):
    """Return the optimizers of all parameters."""
    matrices = [*model.attention.parameters(), *model.mlp.parameters()]
    tables = [model.embed, model.before, model.position]
    return [AdamW([(LR_TABLE, tables), (LR_HEAD, [model.head])]), Muon(matrices)]


# ---------------------------------------------------------------------------------------------- the run


def main():
    """Train to the last step; rank 0 prints."""
    p = argparse.ArgumentParser(allow_abbrev=False)
    p.add_argument("--steps", type=int, default=STEPS)
    p.add_argument("--val-every", type=int, default=24, help="steps between validations")
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()

    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(a.seed)
    model = Model()
    params = list(model.parameters())
    opts = optimizers(model)

    step_tokens = BATCH * SEQ_LEN
    train = read_tokens("NANOGPT_TRAIN_FILES", TRAIN_FILES, a.steps * step_tokens + 1)
    val_tokens = int(os.environ.get("NANOGPT_VAL_TOKENS", 65536))
    val = read_tokens("NANOGPT_VAL_FILES", VAL_FILES, val_tokens + 1)

    def mine(window):
        """Return this rank's inputs and targets of a window of tokens."""
        return [x.view(-1, SEQ_LEN)[rank::ranks] for x in (window[:-1], window[1:])]

    @torch.no_grad()
    def validate():
        """Return the mean loss over the whole validation window, in nats."""
        total = torch.zeros((), dtype=torch.float64)
        for rows, targets in zip(*(x.split(BATCH) for x in mine(val)), strict=True):
            total += model(rows, targets)
        dist.all_reduce(total)
        return total.item() / val_tokens

    def say(line):
        if rank == 0:
            print(line, flush=True)

    spent, since = 0.0, time.perf_counter()
    for step in range(a.steps + 1):
        if step % a.val_every == 0 or step == a.steps:
            spent += 1000 * (time.perf_counter() - since)
            loss = validate()
            average = spent / (step - UNTIMED_STEPS) if step > UNTIMED_STEPS else math.nan
            say(
                f"step:{step}/{a.steps} val_loss:{loss:.4f} train_time:{spent:.0f}ms step_avg:{average:.2f}ms"
            )
            since = time.perf_counter()
        if step == a.steps:
            break
        if step == UNTIMED_STEPS:
            spent, since = 0.0, time.perf_counter()

        rows, targets = mine(train[step * step_tokens : (step + 1) * step_tokens + 1])
        (model(rows, targets) / step_tokens).backward()
        flat = torch.cat([p.grad.flatten() for p in params])
        dist.all_reduce(flat)
        for p, part in zip(params, flat.split([p.numel() for p in params]), strict=True):
            p.grad = part.view_as(p)
        scale = min(1.0, (a.steps - step) / (COOLDOWN * a.steps))
        for opt in opts:
            opt.step(scale)
        for p in params:
            p.grad = None

        now = spent + 1000 * (time.perf_counter() - since)
        average = now / (step + 1 - UNTIMED_STEPS) if step >= UNTIMED_STEPS else math.nan
        say(f"step:{step + 1}/{a.steps} train_time:{now:.0f}ms step_avg:{average:.2f}ms")

    sys.stdout.flush()
    os._exit(0)  # destroy_process_group can deadlock at exit while gloo's threads want Python's lock


if __name__ == "__main__":
    main()
