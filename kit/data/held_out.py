"""
Compose held-out text: a validation shard of text that is in no file of the task.

    smoke   a fresh sample of the smoke language
    full    windows of shards that the record does not read, in an order derived from the seed

The seed and the sources determine the shard, so a reader of a result can compose it again and compare its
sha256 with `inputs.held_out`.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.core.errors import IntegrityError
from kit.data.markov import Language, LanguageSpec
from kit.data.shard import BOS, HEADER_BYTES, TOKEN_BYTES, read_header

WINDOW = 65_536
"""Tokens from one cut to the next; a window runs from the first document after a cut to the next one."""
BOS_BYTES = struct.pack("<H", BOS)


@dataclass(frozen=True, slots=True)
class HeldOutText:
    """The tokens of a held-out shard."""

    tokens: array[int]
    windows: int
    """Number of windows that it is composed of."""


def sample(seed: str, language: LanguageSpec, tokens: int) -> HeldOutText:
    """Draw `tokens` tokens of a language, in one piece, as its validation shard was drawn."""
    return HeldOutText(Language(language).sample(f"held-out/{seed}", tokens), 1)


def compose(seed: str, sources: Sequence[Path], tokens: int) -> HeldOutText:
    """
    Compose `tokens` tokens of whole documents of the shards `sources`; only the last document is truncated.

    Each shard is cut every `WINDOW` tokens from an offset derived from the seed, and the windows are
    shuffled. Windows do not overlap, begin with BOS and end before one. The order of `sources` matters.
    Raises `IntegrityError` if the shards hold too few tokens, and as `read_header` does.
    """
    windows = [
        (_digest(f"order/{seed}/{n}/{begin}", 16), path, begin, end)
        for n, path in enumerate(sources)
        for begin, end in _windows(path, _offset(f"offset/{seed}/{n}"))
    ]
    composed, used = array("H"), 0
    for _, path, begin, end in sorted(windows):
        if len(composed) >= tokens:
            break
        with path.open("rb") as f:
            f.seek(begin)
            composed.frombytes(f.read(end - begin))
        used += 1
    if len(composed) < tokens:
        raise IntegrityError(
            f"the source shards have {len(composed)} tokens of whole documents, but {tokens} are required"
        )
    del composed[tokens:]
    if sys.byteorder == "big":
        composed.byteswap()
    return HeldOutText(composed, used)


def _windows(path: Path, offset: int) -> Iterator[tuple[int, int]]:
    """Yield the windows of a shard as byte ranges; text before the first cut is in no window."""
    size = read_header(path).size
    with path.open("rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
        begin = -1
        for cut in range(HEADER_BYTES + TOKEN_BYTES * offset, size, TOKEN_BYTES * WINDOW):
            document = _document(data, cut)
            if document < 0:
                break
            if 0 <= begin < document:
                yield begin, document
            begin = document
        end = data.rfind(BOS_BYTES, max(begin, 0))
        while end > begin and end % TOKEN_BYTES:
            end = data.rfind(BOS_BYTES, begin, end + 1)
        if 0 <= begin < end:
            yield begin, end


def _document(data: mmap.mmap, position: int) -> int:
    """Return the byte offset of the first document at or after `position`, or -1."""
    offset = data.find(BOS_BYTES, position)
    while offset >= 0 and offset % TOKEN_BYTES:
        offset = data.find(BOS_BYTES, offset + 1)
    return offset


def _offset(label: str) -> int:
    """Derive a number below `WINDOW`, a power of two, from a hash of `label`; all are equally likely."""
    return int.from_bytes(_digest(label, 8), "big") % WINDOW


def _digest(label: str, size: int) -> bytes:
    return hashlib.shake_256(f"speedrun-kit/held-out/1/{label}".encode()).digest(size)
