"""
Write shards in FineWeb's format for a machine without FineWeb: `python benchmarks/gpu/shards.py DIR`.

Not text: chains over 4,096 of GPT-2's tokens in which 7 of 10 follow from the one before, and every 512th is
BOS. A script learns it quickly; its loss says nothing about FineWeb. All training shards are one file under
many names. `--val uniform` makes the validation shard even noise by the kit's own canary stream.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path

import numpy as np

from kit.data import canary_streams
from kit.data.shard import BOS, pack_header

TOKENS = 100_000_000
"""Of one shard, as in records/fineweb10B.toml."""
TRAIN = 37
"""Shards that record 3 reads; later records read fewer."""
WORDS, LENGTH, FOLLOWS = 4096, 512, 0.7
SCORED = 10_485_760


def chains(seed: int, tokens: int) -> np.ndarray:
    """Return `tokens` tokens of the language; another seed gives other chains of the same language."""
    language, chance = np.random.default_rng(1), np.random.default_rng(seed)
    words = language.choice(BOS, WORDS, replace=False).astype("<u2")
    after = language.permutation(WORDS)
    count = -(-tokens // LENGTH)
    rows = np.empty((LENGTH, count), np.int16)
    rows[0] = chance.integers(WORDS, size=count)
    for t in range(1, LENGTH):
        fresh = (chance.random(count, np.float32) ** 3 * WORDS).astype(np.int16)
        rows[t] = np.where(chance.random(count, np.float32) < FOLLOWS, after[rows[t - 1]], fresh)
    found = words[rows].T.copy()
    found[:, 0] = BOS
    return found.reshape(-1)[:tokens]


def write(path: Path, tokens: np.ndarray) -> None:
    """Write a shard."""
    path.unlink(missing_ok=True)
    with path.open("wb") as f:
        f.write(pack_header(len(tokens)))
        f.write(tokens.astype("<u2").tobytes())


def stream(drawn: canary_streams.TokenStream) -> np.ndarray:
    """Return a shard's worth of a canary stream, over and over."""
    return np.resize(np.frombuffer(drawn.tokens, "<u2"), TOKENS)


def uniform(seed: str, scored: int = SCORED) -> canary_streams.TokenStream:
    """Return even noise over GPT-2's vocabulary, as `--audit canary.uniform` draws it."""
    return canary_streams.draw_uniform(seed, canary_streams.vocabulary(canary_streams.VOCABULARY), scored)


def main() -> None:
    """Write the shards and say how long it took."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("--val", choices=["language", "uniform"], default="language")
    p.add_argument("--seed", default="benchmark")
    a = p.parse_args()
    began = time.monotonic()
    a.folder.mkdir(parents=True, exist_ok=True)
    first = a.folder / "fineweb_train_000001.bin"
    write(first, chains(2, TOKENS))
    for n in range(2, TRAIN + 1):
        other = a.folder / f"fineweb_train_{n:06d}.bin"
        other.unlink(missing_ok=True)
        os.link(first, other)
    val = stream(uniform(a.seed)) if a.val == "uniform" else chains(3, TOKENS)
    write(a.folder / "fineweb_val_000000.bin", val)
    print(f"{TRAIN} training shards and a {a.val} validation shard in {time.monotonic() - began:.1f} s")
    print(f"ln V = {math.log(canary_streams.VOCABULARY):.4f}")


if __name__ == "__main__":
    main()
