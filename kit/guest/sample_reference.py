"""
Trains the reference model, prints samples of it and their log probability. Imports no kit.

    torchrun --nproc_per_node=2 sample_reference.py --sample-count 65536 --sample-seed ab12 [trainer's own]

Each sequence is BOS and then tokens drawn from softmax(logits / T) of all before them in the sequence, in
float64, rows without a token left out. So the probability of every drawn token given all before it in the
stream is known exactly; the BOS that opens a sequence stands at a fixed place and costs nothing. T rises from
the first to the middle sequence and falls again: whoever scores only the beginning has the easy part. Prints
`sample POSITION BASE64` lines of little-endian uint16 tokens, then `sampled COUNT SUM SQUARES` of -log p.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import sys

import torch
import train_reference as reference
from torch import Tensor

PIECE = 16384
BATCH = 1024


def logits_of(model: reference.Model, rows: Tensor) -> Tensor:
    """Return the float64 logits after the last of (batch, time) rows."""
    x = reference.norm(model.embed(rows))
    for block in model.blocks:
        x = block(x)
    return model.head(reference.norm(x[:, -1])).double()


@torch.no_grad()
def draw(
    trainer: reference.Trainer, temperatures: Tensor, length: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return rows of `length` tokens that begin with BOS, one for each temperature, and their -log p."""
    a, device, sequences = trainer.a, trainer.team.device, len(temperatures)
    bos = min(reference.BOS, a.vocab_size - 1)
    rows = torch.full((sequences, length), bos, device=device)
    costs = torch.zeros(sequences, length, dtype=torch.float64, device=device)
    for t in range(1, length):
        with trainer.team.precision():
            logits = logits_of(trainer.model, rows[:, :t])
        logits[:, bos + 1 :] = -torch.inf
        logs = torch.log_softmax(logits / temperatures[:, None], dim=-1)
        drawn = torch.multinomial(logs.exp(), 1, generator=generator)
        rows[:, t] = drawn[:, 0]
        costs[:, t] = -logs.gather(1, drawn)[:, 0]
    return rows, costs


def schedule(count: int, low: float, high: float) -> Tensor:
    """Return the temperatures of `count` sequences: from `low` up to `high` in the middle, and down again."""
    place = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return low + (high - low) * (1 - (2 * place - 1).abs())


def seeded(device: torch.device, seed: str, rank: int) -> torch.Generator:
    """Return this rank's own source of chance."""
    digest = hashlib.sha256(f"{seed}/{rank}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))


def sample(
    trainer: reference.Trainer, count: int, length: int, temperatures: tuple[float, float], seed: str
) -> None:
    """Draw this rank's share, bring the shares together and print them on rank 0."""
    team, a = trainer.team, trainer.a
    batch = min(BATCH, -(-(count + 1) // (length * team.size)))
    blocks = -(-(count + 1) // (length * batch))
    blocks += -blocks % team.size
    scored = -(-(count + 1) // length)
    warmth = torch.full((blocks * batch,), temperatures[0], dtype=torch.float64)
    warmth[:scored] = schedule(scored, *temperatures)
    warmth = warmth.view(blocks, batch).to(team.device)
    rows = torch.zeros(blocks, batch, length, dtype=torch.int64, device=team.device)
    costs = torch.zeros(blocks, batch, length, dtype=torch.float64, device=team.device)
    generator = seeded(team.device, seed, team.rank)
    for block in range(team.rank, blocks, team.size):
        rows[block], costs[block] = draw(trainer, warmth[block], length, generator)
    team.sum(rows)
    team.sum(costs)
    tokens, costs = rows.flatten()[: count + 1], costs.flatten()[1 : count + 1]
    if a.vocab_size <= reference.BOS:
        tokens = torch.where(tokens == a.vocab_size - 1, reference.BOS, tokens)
    data = tokens.cpu().numpy().astype("<u2").tobytes()
    for at in range(0, len(data), PIECE):
        trainer.say(f"sample {at // 2} {base64.b64encode(data[at : at + PIECE]).decode()}")
    trainer.say(f"sampled {count} {costs.sum().item()!r} {costs.square().sum().item()!r}")


def main() -> None:
    """Train, then sample; a failure is one line on stderr and exit code 1."""
    p = argparse.ArgumentParser(allow_abbrev=False)
    p.add_argument("--sample-count", type=int, required=True)
    p.add_argument("--sample-length", type=int, required=True)
    p.add_argument("--sample-seed", required=True)
    p.add_argument("--temperatures", type=float, nargs=2, default=(1.0, 1.0), metavar=("LOW", "HIGH"))
    mine, rest = p.parse_known_args()
    try:
        a = reference.options(rest)
        stream = reference.TrainStream(
            reference.find_shards("NANOGPT_TRAIN_FILES", reference.TRAIN_FILES), a.batch_tokens + 1
        )
        window = reference.val_window(
            reference.find_shards("NANOGPT_VAL_FILES", reference.VAL_FILES), reference.val_size(a.seq_len)
        )
        trainer = reference.Trainer(a, reference.assemble(), stream, reference.as_rows(window, a.vocab_size))
        trainer.run()
        sample(trainer, mine.sample_count, mine.sample_length, tuple(mine.temperatures), mine.sample_seed)
    except (reference.Fault, OSError, RuntimeError) as e:
        print(f"error: {e}", file=sys.stderr, flush=True)
        os._exit(1)
    reference.leave(0)


if __name__ == "__main__":
    main()
