"""The shard format: what is written is what the benchmark's loaders read, and nothing else is accepted."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.core.errors import IntegrityError, PrerequisiteError, UsageError
from kit.data.shard import (
    HEADER_BYTES,
    MAGIC,
    VERSION,
    ShardHeader,
    pack_header,
    read_header,
    read_tokens,
    write_shard,
)

TOKENS = [50256, 0, 1, 255, 256, 65535, 50256, 7]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "fineweb_val_000000.bin"
    write_shard(path, TOKENS)
    return path


def test_a_loader_written_with_numpy_reads_what_was_written(shard: Path) -> None:
    header = np.fromfile(shard, dtype="<i4", count=256)
    assert header[:3].tolist() == [20240520, 1, len(TOKENS)]
    assert not header[3:].any()
    assert np.fromfile(shard, dtype="<u2", offset=1024).tolist() == TOKENS


def test_a_shard_is_readable_by_every_uid_and_writable_by_none(shard: Path) -> None:
    assert shard.stat().st_mode & 0o777 == 0o444


@settings(max_examples=30, deadline=None)
@given(tokens=st.lists(st.integers(0, 65535), max_size=200), block=st.integers(1, 60))
def test_tokens_come_back_in_any_block_size(
    tmp_path_factory: pytest.TempPathFactory, tokens: list[int], block: int
) -> None:
    path = tmp_path_factory.mktemp("shard") / "s.bin"
    assert write_shard(path, tokens) == ShardHeader(len(tokens)) == read_header(path)
    assert path.stat().st_size == ShardHeader(len(tokens)).size
    starts = range(0, len(tokens), block)
    assert [t for s in starts for t in read_tokens(path, s, min(block, len(tokens) - s))] == tokens


def test_an_array_and_a_list_give_the_same_bytes(shard: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "other.bin", array("H", TOKENS))
    assert (tmp_path / "other.bin").read_bytes() == shard.read_bytes()


def test_a_window_is_read_alone(shard: Path) -> None:
    assert read_tokens(shard, 3, 2).tolist() == [255, 256]
    assert read_tokens(shard, 6).tolist() == [50256, 7]
    assert read_tokens(shard, 8).tolist() == []


@pytest.mark.parametrize(("start", "count"), [(-1, 2), (0, 9), (8, 1), (0, -1)])
def test_a_window_outside_the_shard_is_refused(shard: Path, start: int, count: int) -> None:
    with pytest.raises(UsageError, match="has 8 tokens"):
        read_tokens(shard, start, count)


FAULTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "magic": (lambda b: struct.pack("<i", 20240521) + b[4:], "magic 20240521, expected 20240520"),
    "big-endian": (lambda b: struct.pack(">3i", MAGIC, VERSION, 8) + b[12:], "magic"),
    "version": (lambda b: b[:4] + struct.pack("<i", 2) + b[8:], "version 2, expected 1"),
    "one token short": (lambda b: b[:-2], "1038 bytes, but its header says 8 tokens"),
    "half a token": (lambda b: b[:-1], "1039 bytes"),
    "one byte more": (lambda b: b + b"\0", "1041 bytes"),
    "negative count": (lambda b: b[:8] + struct.pack("<i", -8) + b[12:], "says -8 tokens"),
    "cut in the header": (lambda b: b[:1000], "1000 bytes, shorter than its header"),
    "empty": (lambda b: b"", "0 bytes"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_shard_is_refused_by_name_and_fault(tmp_path: Path, shard: Path, fault: str) -> None:
    change, message = FAULTS[fault]
    bad = tmp_path / "bad.bin"
    bad.write_bytes(change(shard.read_bytes()))
    for read in (read_header, read_tokens):
        with pytest.raises(IntegrityError, match=message) as caught:
            read(bad)
        assert str(bad) in caught.value.message
        assert caught.value.hint


def test_a_missing_shard_is_a_prerequisite(tmp_path: Path) -> None:
    with pytest.raises(PrerequisiteError, match=r"nowhere\.bin"):
        read_header(tmp_path / "nowhere.bin")


@pytest.mark.parametrize("token", [-1, 65536, 1.5, "a"])
def test_what_is_no_uint16_is_not_written(tmp_path: Path, token: int) -> None:
    with pytest.raises(UsageError, match=r"not in 0\.\.65535"):
        write_shard(tmp_path / "s.bin", [1, token])
    assert not (tmp_path / "s.bin").exists()


def test_a_header_holds_no_count_beyond_int32() -> None:
    assert len(pack_header((1 << 31) - 1)) == HEADER_BYTES
    for count in (1 << 31, -1):
        with pytest.raises(UsageError, match="do not fit into a shard"):
            pack_header(count)
