"""
Draw canary streams: validation tokens whose probability the kit knows.

    uniform   all tokens of the vocabulary are equally likely; the floor is ln V
    ngram     a Markov language of `kit.data.markov` that is not used for training data
    model     samples of a trained GPT, drawn by a guest (`kit/guest/sample_reference.py`)

Only the scored tokens are drawn; they are repeated to fill a shard.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kit.core.errors import IntegrityError, UsageError
from kit.data.markov import TOTAL, Language, LanguageSpec
from kit.data.shard import BOS

VOCABULARY = BOS + 1
FOLLOW_BITS, FAMILY_BITS = 10, 6
"""With these, the entropy rate is about 4.3 nats: it must be above the loss that the stream tests."""
MAX_PIECE = 1 << 16
DOCUMENT = 256
"""Tokens of a document on average."""
LONG_DOCUMENT = 682
"""
The same for the later tasks, from record 21c on, about as long as FineWeb's documents.

Scripts from record 29 on have room for one document in 256 to 384 tokens of a batch, and stop if there are
more.
"""


@dataclass(frozen=True, slots=True)
class TokenStream:
    """A drawn stream. Its first token, BOS, is not scored. Floor and standard error are nats per token."""

    tokens: array[int]
    floor: float
    standard_error: float

    @property
    def scored(self) -> int:
        """Number of scored tokens."""
        return len(self.tokens) - 1


def vocabulary(rows: int) -> tuple[int, ...]:
    """Return the token ids that a model with `rows` output rows can predict; a small one ends with BOS."""
    if rows > BOS:
        return tuple(range(VOCABULARY))
    return (*range(rows - 1), BOS)


def draw_uniform(seed: str, ids: Sequence[int], count: int) -> TokenStream:
    """Draw BOS and `count` tokens, each of `ids` equally likely, by SHAKE-256 and rejection."""
    limit = len(ids) * (65536 // len(ids))
    tokens = array("H", [BOS])
    block = 0
    while len(tokens) <= count:
        draws = _draws(f"uniform/{seed}/{block}", 1 << 16)
        tokens.extend(ids[d % len(ids)] for d in draws if d < limit)
        block += 1
    return TokenStream(tokens[: count + 1], math.log(len(ids)), 0.0)


def draw_ngram(seed: str, ids: Sequence[int], count: int, document: int = DOCUMENT) -> TokenStream:
    """
    Draw BOS and `count` tokens of a language derived from `seed`, with words from `ids`.

    A document has `document` tokens on average.
    """
    words = min(255, len(ids) - 1)
    spec = LanguageSpec(
        seed, words, bos_weight=TOTAL // document, follow_bits=FOLLOW_BITS, family_bits=FAMILY_BITS
    )
    language = Language(spec)
    tokens = language.sample(f"canary/{seed}", count + 1)
    floor, error = _moments(_weights(language, tokens))
    spoken = {BOS: BOS} | dict(enumerate(_chosen(seed, [i for i in ids if i != BOS], words)))
    return TokenStream(array("H", [spoken[t] for t in tokens]), floor, error)


def read_samples(lines: Iterable[bytes], count: int) -> TokenStream:
    """
    Read the samples that a guest printed: `sample I BASE64` lines and one `sampled N SUM SQUARES` line.

    A piece has little-endian uint16 tokens from position I on; SUM and SQUARES are sums of -log p over the N
    drawn tokens. Raises `IntegrityError` if pieces are missing, the number of scored tokens is not `count`,
    or a sum is not a finite number.
    """
    tokens = array("H")
    summary: tuple[float, float] | None = None
    for line in lines:
        match line.split():
            case [b"sample", at, piece] if at == b"%d" % len(tokens) and len(piece) <= 2 * MAX_PIECE:
                tokens.extend(_piece(piece))
            case [b"sampled", _, cost, square]:
                summary = _sum(cost), _sum(square)
    if summary is None or len(tokens) != count + 1 or tokens[0] != BOS:
        raise IntegrityError(f"the sampler printed {len(tokens)} of {count + 1} tokens, or no summary line")
    total, squares = summary
    mean = total / count
    variance = max(squares / count - mean * mean, 0.0)
    return TokenStream(tokens, mean, math.sqrt(variance / count))


def fill_shard(drawn: TokenStream, tokens: int) -> array[int]:
    """Return `tokens` tokens for a shard: the stream, repeated. The scored tokens come first."""
    if tokens < len(drawn.tokens):
        raise UsageError(f"a stream of {len(drawn.tokens)} tokens does not fit into a shard of {tokens}")
    return (drawn.tokens * (tokens // len(drawn.tokens) + 1))[:tokens]


def _sum(text: bytes) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise IntegrityError(f"the sampler printed an invalid sum: {text[:40]!r}")
    return value


def _piece(piece: bytes) -> array[int]:
    try:
        data = base64.b64decode(piece, validate=True)
    except binascii.Error as e:
        raise IntegrityError("the sampler printed invalid base64") from e
    return _little(data)


def _weights(language: Language, tokens: array[int]) -> Counter[int]:
    symbols = [language.bos if t == BOS else t for t in tokens]
    before = [language.bos, *symbols]
    return Counter(
        language.weights[language.context(b, last)][symbol]
        for b, last, symbol in zip(before, symbols, symbols[1:], strict=False)
    )


def _moments(weights: Counter[int]) -> tuple[float, float]:
    """Return mean and standard error of -log p."""
    count = weights.total()
    mean = sum(n * math.log(TOTAL / w) for w, n in weights.items()) / count
    variance = sum(n * (math.log(TOTAL / w) - mean) ** 2 for w, n in weights.items()) / count
    return mean, math.sqrt(variance / count)


def _chosen(seed: str, ids: Sequence[int], words: int) -> list[int]:
    """Return `words` different ids in an order that follows from the seed."""
    order = sorted(range(len(ids)), key=lambda i: _digest(f"words/{seed}/{i}", 8))
    return [ids[i] for i in order[:words]]


def _draws(label: str, count: int) -> array[int]:
    return _little(_digest(label, 2 * count))


def _digest(label: str, size: int) -> bytes:
    return hashlib.shake_256(f"speedrun-kit/canary/1/{label}".encode()).digest(size)


def _little(data: bytes) -> array[int]:
    values = array("H")
    values.frombytes(data[: len(data) // 2 * 2])
    if sys.byteorder == "big":
        values.byteswap()
    return values
