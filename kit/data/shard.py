"""
Read and write FineWeb shards: a header of 256 int32, then uint16 tokens, all little-endian.

    bytes 0..1023   256 int32: [0] magic 20240520, [1] version 1, [2] number of tokens, the rest 0
    bytes 1024..    one uint16 for each token

Pure standard library: the host reads shards without numpy.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.core.errors import IntegrityError, UsageError
from kit.core.files import write_atomic
from kit.core.reading import unreadable

MAGIC = 20240520
VERSION = 1
HEADER_BYTES = 1024
TOKEN_BYTES = 2
BOS = 50256
"""GPT-2's end-of-text token; every document begins with it."""

_FIX = "fetch or generate the shard again; a FineWeb shard has a 1024-byte header and 2 bytes per token"


@dataclass(frozen=True, slots=True)
class ShardHeader:
    """The header of a shard."""

    tokens: int

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return HEADER_BYTES + TOKEN_BYTES * self.tokens


def pack_header(tokens: int) -> bytes:
    """Return the 1024 header bytes of a shard of `tokens` tokens. Raises `UsageError` beyond int32."""
    if not 0 <= tokens < 1 << 31:
        raise UsageError(f"{tokens} tokens do not fit into a shard", "write several shards")
    return struct.pack("<3i", MAGIC, VERSION, tokens).ljust(HEADER_BYTES, b"\0")


def read_header(path: Path) -> ShardHeader:
    """
    Read a shard's header and check it against the size of the file.

    The tokens themselves and the 253 unused header fields are NOT checked. Raises `PrerequisiteError` if
    the file is missing, `IntegrityError` naming path and fault for a wrong magic, version or size.
    """
    try:
        with path.open("rb") as f:
            raw = f.read(HEADER_BYTES)
            size = path.stat().st_size
    except OSError as e:
        raise unreadable(path, e) from e
    if len(raw) < HEADER_BYTES:
        raise IntegrityError(f"shard {path} is {size} bytes, shorter than its header of {HEADER_BYTES}", _FIX)
    magic, version, tokens = struct.unpack_from("<3i", raw)
    if magic != MAGIC:
        raise IntegrityError(f"shard {path} has magic {magic}, expected {MAGIC}", _FIX)
    if version != VERSION:
        raise IntegrityError(f"shard {path} has version {version}, expected {VERSION}", _FIX)
    header = ShardHeader(tokens)
    if tokens < 0 or size != header.size:
        raise IntegrityError(f"shard {path} is {size} bytes, but its header says {tokens} tokens", _FIX)
    return header


def write_shard(path: Path, tokens: Sequence[int]) -> ShardHeader:
    """
    Write `tokens` as a shard atomically, readable by every uid and read-only.

    Raises `UsageError` if a token is not a uint16.
    """
    try:
        packed = tokens if isinstance(tokens, array) and tokens.typecode == "H" else array("H", tokens)
    except (OverflowError, TypeError) as e:
        raise UsageError(f"a token of {path.name} is not in 0..65535", "shards hold uint16 tokens") from e
    write_atomic(path, pack_header(len(packed)) + _little(packed).tobytes(), mode=0o444)
    return ShardHeader(len(packed))


def read_tokens(path: Path, start: int = 0, count: int | None = None) -> array[int]:
    """
    Return `count` tokens from position `start` on (to the end if None) as an array of type "H".

    Raises as `read_header` does, and `UsageError` if the shard has no such tokens.
    """
    header = read_header(path)
    count = header.tokens - start if count is None else count
    if start < 0 or count < 0 or start + count > header.tokens:
        raise UsageError(f"{path} has {header.tokens} tokens, not {count} from {start} on")
    with path.open("rb") as f:
        f.seek(HEADER_BYTES + TOKEN_BYTES * start)
        data = f.read(TOKEN_BYTES * count)
    if len(data) != TOKEN_BYTES * count:
        whole = start + len(data) // TOKEN_BYTES
        raise IntegrityError(f"shard {path} ended after {whole} tokens while it was read", _FIX)
    tokens = array("H")
    tokens.frombytes(data)
    return _little(tokens)


def _little(tokens: array[int]) -> array[int]:
    """Convert tokens between the machine's byte order and the file's."""
    if sys.byteorder == "little":
        return tokens
    swapped = array("H", tokens)
    swapped.byteswap()
    return swapped
