"""
Draw and score tokens of synthetic languages, whose probabilities are integers over 4096.

A language has a few hundred words, which are token ids from 0 on, and BOS (50256), which opens each
document. Each word is of one kind, each kind of one family. The next word depends on the kind of the last
word and on the family of the word before it: a Markov chain of order 2, which starts anew after each BOS.

Everything follows from the seed by SHAKE-256 and integer arithmetic, so the bytes are the same on every
machine and for every version of Python. Entropies are sums of correctly rounded decimal logarithms.
"""

from __future__ import annotations

import hashlib
import sys
from array import array
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal, localcontext

from kit.core.errors import UsageError
from kit.data.shard import BOS

TOTAL = 4096
"""The weights of a context sum to this: a probability is weight / TOTAL."""


@dataclass(frozen=True, slots=True)
class LanguageSpec:
    """The parameters that determine a language. `words` does not count BOS."""

    seed: str
    words: int = 255
    kinds: int = 32
    families: int = 8
    bos_weight: int = 16
    """Weight of BOS, out of TOTAL: a document has TOTAL / bos_weight words on average."""
    follow_bits: int = 16
    """A word's weight after a kind is 2**e, with e drawn evenly from 0..follow_bits-1."""
    family_bits: int = 12
    """The family of the word before multiplies it by 2**e, with e drawn evenly from 0..family_bits-1."""


class Language:
    """A language made from its spec; immutable."""

    def __init__(self, spec: LanguageSpec) -> None:
        """Derive all weights. Raises `UsageError` for an invalid spec."""
        if not (1 < spec.kinds <= spec.words <= 255 and 0 < spec.families <= spec.kinds):
            raise UsageError(
                f"invalid language: {spec.words} words, {spec.kinds} kinds, {spec.families} families",
                "use 1 < kinds <= words <= 255 and 0 < families <= kinds",
            )
        if not 0 < spec.bos_weight <= TOTAL - 2 * spec.words:
            raise UsageError(
                f"invalid language: BOS weight {spec.bos_weight}", f"use 1..{TOTAL - 2 * spec.words}"
            )
        self.spec = spec
        self.bos = spec.words
        """BOS as a symbol; every other symbol is its token id."""
        kinds = [draw % spec.kinds for draw in self._draws("kind", spec.words)]
        self.kind = bytes([*kinds, spec.kinds])
        """Symbol -> kind; BOS is the only symbol of its kind."""
        self.family = bytes([*(k % spec.families for k in kinds), spec.families])
        """Symbol -> family, a function of its kind; BOS is the only symbol of its family."""
        self.weights = self._weights()
        """Context -> symbol -> weight; a context is kind of the last * (families + 1) + family before."""

    def context(self, before: int, last: int) -> int:
        """Return the context after symbols `before`, `last`. After BOS, `before` does not matter."""
        return self._context(self.kind[last], self.family[before])

    def _context(self, kind: int, family: int) -> int:
        return kind * (self.spec.families + 1) + (family if kind < self.spec.kinds else 0)

    def _draws(self, label: str, count: int) -> array[int]:
        """Return `count` uniform 16-bit numbers derived from the seed and a label."""
        name = f"speedrun-kit/markov/1/{self.spec.seed}/{label}".encode()
        draws = array("H")
        draws.frombytes(hashlib.shake_256(name).digest(2 * count))
        if sys.byteorder != "little":
            draws.byteswap()
        return draws

    def _weights(self) -> tuple[tuple[int, ...], ...]:
        spec = self.spec
        rows: list[tuple[int, ...]] = []
        by_family = [
            [1 << draw % spec.family_bits for draw in self._draws(f"family/{f}", spec.words)]
            for f in range(spec.families + 1)
        ]
        for kind in range(spec.kinds):
            follow = [1 << draw % spec.follow_bits for draw in self._draws(f"follow/{kind}", spec.words)]
            for scale in by_family:
                raw = [a * b for a, b in zip(follow, scale, strict=True)]
                rows.append((*apportion(raw, TOTAL - spec.bos_weight), spec.bos_weight))
        opening = [1 << draw % spec.follow_bits for draw in self._draws("follow/bos", spec.words)]
        rows.append((*apportion(opening, TOTAL), 0))  # a document is never empty
        return tuple(rows)

    def sample(self, label: str, count: int) -> array[int]:
        """
        Draw `count` token ids (array of type "H") beginning with BOS.

        The same label gives the same tokens; different labels give independent streams.
        """
        if count < 1:
            raise UsageError(f"cannot draw {count} tokens", "draw at least 1 token")
        families = range(self.spec.families + 1)
        tables = [b"".join(bytes([s]) * w for s, w in enumerate(row)) for row in self.weights]
        after = [[tables[self._context(self.kind[s], f)] for f in families] for s in range(self.bos + 1)]
        family, mask = self.family, TOTAL - 1
        symbols = bytearray([self.bos])
        table, before = after[self.bos][0], family[self.bos]
        for draw in self._draws(f"sample/{label}", count - 1):
            symbol = table[draw & mask]
            symbols.append(symbol)
            table = after[symbol][before]
            before = family[symbol]
        ids = [*range(self.spec.words), BOS]
        return array("H", [ids[s] for s in symbols])

    def mean_nats(self, tokens: array[int], count: int, start: int = 0) -> Decimal:
        """
        Return the mean of -log p(token | all before it), in nats, over `count` tokens from `start + 1` on.

        That is the window that a model scores when it reads inputs from position `start`. The stream must
        begin with BOS and contain only words of this language. Raises `UsageError` otherwise.
        """
        if start < 0 or count < 1 or start + count >= len(tokens):
            raise UsageError(
                f"a window of {count} tokens from {start} on does not fit into {len(tokens)} tokens"
            )
        if tokens[0] != BOS:
            raise UsageError("the stream does not begin with BOS", "score it from its first token on")
        first = max(start - 1, 0)
        symbols = [self._symbol(token) for token in tokens[first : start + count + 1]]
        if start == 0:
            symbols.insert(0, self.bos)  # the symbol before BOS does not matter
        weight_counts: Counter[int] = Counter()
        for before, last, symbol in zip(symbols, symbols[1:], symbols[2:], strict=False):
            weight_counts[self.weights[self.context(before, last)][symbol]] += 1
        if 0 in weight_counts:
            raise UsageError("the stream contains a token with probability 0 in this language")
        return mean_log(weight_counts)

    def _symbol(self, token: int) -> int:
        if token == BOS:
            return self.bos
        if token < self.spec.words:
            return token
        raise UsageError(f"token {token} is not a word of this language")

    def entropy_rate(self) -> float:
        """
        Return the entropy rate in nats per token: the limit of `mean_nats` for long streams.

        (kind of the last symbol, family of the one before) is itself a Markov chain, because a family is a
        function of a kind; its stationary distribution is found by iteration, to about 1e-12.
        """
        spec = self.spec
        family_of = {self.kind[s]: self.family[s] for s in range(self.bos + 1)}
        states = [(k, f) for k in family_of for f in range(spec.families + 1)]
        moves: dict[tuple[int, int], list[tuple[tuple[int, int], float]]] = {}
        for kind, family in states:
            into: Counter[int] = Counter()
            for symbol, weight in enumerate(self.weights[self._context(kind, family)]):
                into[self.kind[symbol]] += weight
            moves[kind, family] = [((k, family_of[kind]), w / TOTAL) for k, w in into.items() if w]
        share = dict.fromkeys(states, 1 / len(states))
        for _ in range(10_000):
            step = dict.fromkeys(states, 0.0)
            for state, mass in share.items():
                for target, p in moves[state]:
                    step[target] += mass * p
            moved = sum(abs(step[s] - share[s]) for s in states)
            share = step
            if moved < 1e-13:
                break
        return sum(mass * self._entropy(self._context(k, f)) for (k, f), mass in share.items())

    def _entropy(self, context: int) -> float:
        weight_counts: Counter[int] = Counter()
        for weight in self.weights[context]:
            weight_counts[weight] += weight
        del weight_counts[0]
        return float(mean_log(weight_counts))


def mean_log(weight_counts: Counter[int]) -> Decimal:
    """Return the mean of log(TOTAL / weight) over weights counted in `weight_counts`, to about 1e-25."""
    with localcontext() as exact:
        exact.prec = 34
        total = sum((n * (Decimal(TOTAL) / w).ln() for w, n in sorted(weight_counts.items())), Decimal(0))
        return total / weight_counts.total()


def apportion(weights: list[int], total: int) -> list[int]:
    """
    Return integers that sum to `total`, each at least 1, as close as possible in proportion to `weights`.

    Largest remainders are rounded up, the first of equal ones first.
    """
    spare, mass = total - len(weights), sum(weights)
    shares = [1 + spare * w // mass for w in weights]
    order = sorted(range(len(weights)), key=lambda i: (-(spare * weights[i] % mass), i))
    for i in order[: total - sum(shares)]:
        shares[i] += 1
    return shares
