"""Held-out text is whole documents of other shards, in an order that nobody knows before the seed."""

from __future__ import annotations

from array import array
from collections import Counter
from itertools import pairwise

import pytest

from kit.benchmark.records import load
from kit.core.digest import sha256_file
from kit.core.errors import IntegrityError
from kit.core.facts import facts_root
from kit.data import held_out
from kit.data.dataset import load_dataset
from kit.data.markov import Language
from kit.data.shard import BOS, write_shard
from kit.data.synth import load_smoke

RECORDS = facts_root() / "records"
SHARD, WINDOW = 4000, 64


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(held_out, "WINDOW", WINDOW)


@pytest.fixture
def sources(tmp_path):
    """Two shards of numbered documents of 2 to 40 tokens; each begins in the middle of one."""
    paths = []
    for n in range(2):
        tokens = [7, 8]
        for document in range(SHARD):
            tokens += [BOS, n, document, *([9] * (document * 7 % 38))]
        paths.append(tmp_path / f"source{n}.bin")
        write_shard(paths[-1], tokens[:SHARD])
    return paths


def documents(tokens):
    """Return the documents of a text; what stands before the first one is not allowed."""
    starts = [i for i, t in enumerate(tokens) if t == BOS]
    assert starts[0] == 0
    return [tuple(tokens[a:b]) for a, b in pairwise([*starts, len(tokens)])]


def test_a_text_has_the_tokens_that_were_asked_for_and_begins_with_a_document(sources):
    text = held_out.compose("seed", sources, SHARD)
    assert len(text.tokens) == SHARD and text.tokens[0] == BOS
    assert SHARD / WINDOW * 0.8 < text.windows < SHARD / WINDOW * 1.3


def test_every_document_is_whole_and_stands_there_once_and_only_the_last_is_cut(sources):
    whole = {d for path in sources for d in documents(read(path)[2:])}
    *most, last = documents(held_out.compose("seed", sources, SHARD).tokens)
    assert set(most) <= whole and len(set(most)) == len(most)
    assert any(d[: len(last)] == last for d in whole)


def read(path):
    data = path.read_bytes()[1024:]
    return array("H", data).tolist()


def test_the_same_seed_gives_the_same_bytes_and_another_one_other_documents(sources, tmp_path):
    first, again, other = (held_out.compose(seed, sources, SHARD).tokens for seed in ("a", "a", "b"))
    assert first == again and first != other
    assert documents(first)[:5] != documents(other)[:5]
    assert {d[1] for d in documents(first) if len(d) > 1} == {0, 1}, "both shards are drawn from"


def test_no_order_blind_statistic_is_the_same_for_two_seeds(sources):
    texts = [held_out.compose(str(n), sources, SHARD // 2).tokens for n in range(12)]
    assert len({sum(t) for t in texts}) == len(texts)
    assert len({frozenset(Counter(t).items()) for t in texts}) == len(texts)


def test_windows_neither_overlap_nor_leave_the_shard(sources):
    for path in sources:
        windows = list(held_out._windows(path, 17))
        assert all(a < b for a, b in windows) and windows[-1][1] <= path.stat().st_size
        assert all(b <= c for (_, b), (c, _) in pairwise(windows))


def test_bytes_that_look_like_bos_across_two_tokens_begin_no_document(tmp_path):
    low, high = BOS & 255, BOS >> 8
    odd = [1 | low << 8, high | 2 << 8]  # BOS at an odd byte
    path = tmp_path / "odd.bin"
    write_shard(path, [BOS, *odd * 200, BOS, *odd * 200, BOS])
    text = held_out.compose("x", [path], 401)
    assert text.tokens.tolist() == [BOS, *odd * 200] and text.windows >= 1


def test_shards_that_hold_too_few_tokens_are_refused(sources, tmp_path):
    with pytest.raises(IntegrityError, match=r"the source shards have .* tokens of whole documents"):
        held_out.compose("x", sources[:1], SHARD)
    bare = tmp_path / "bare.bin"
    write_shard(bare, [1] * 500)
    with pytest.raises(IntegrityError, match="have 0 tokens"):
        held_out.compose("x", [bare], 100)


@pytest.mark.parametrize("number", range(1, 22))
def test_no_record_reads_the_shards_that_its_held_out_text_is_drawn_from(number):
    dataset, train = load_dataset(RECORDS), load(RECORDS, number).train_shards
    names = dataset.held_out(train)
    assert names == ("fineweb_train_000102.bin", "fineweb_train_000103.bin")
    assert not set(names) & set(dataset.shards(train))


def test_a_record_that_reads_nearly_every_shard_leaves_none():
    dataset = load_dataset(RECORDS)
    assert len(dataset.held_out(101)) == 2
    assert dataset.held_out(102) == dataset.held_out(103) == ()


def test_a_smoke_text_is_a_fresh_sample_of_the_language_in_one_piece(tmp_path):
    spec = load_smoke(RECORDS)
    text, other = (held_out.sample(seed, spec.language, 3000) for seed in ("a", "b"))
    assert text.windows == 1 and text.tokens[0] == BOS and text.tokens != other.tokens
    assert text.tokens != Language(spec.language).sample(spec.val.stream, 3000)
    assert Language(spec.language).mean_nats(text.tokens, 2999) > 3
    for name in ("one", "two"):
        write_shard(tmp_path / name, held_out.sample("a", spec.language, 3000).tokens)
    assert sha256_file(tmp_path / "one") == sha256_file(tmp_path / "two")
