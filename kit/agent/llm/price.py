"""The cost of a call in USD, from the endpoint's usage and the profile's prices."""

from __future__ import annotations

from kit.agent.llm.profile import TokenPrices
from kit.agent.llm.wire import TokenUsage

PER = 1_000_000
"""Prices are for so many tokens."""


def cost_usd(usage: TokenUsage, prices: TokenPrices | None) -> float | None:
    """
    Return the cost of a call, None if it is unknown.

    Unknown: no prices, a number of tokens that was not reported, or parts that exceed the whole prompt.
    Tokens read from and written to a cache are parts of the prompt; reasoning is part of the completion.
    """
    if prices is None or usage.prompt_tokens is None or usage.completion_tokens is None:
        return None
    cached, written = usage.cached_tokens or 0, usage.cache_write_tokens or 0
    plain = usage.prompt_tokens - cached - written
    if plain < 0:
        return None
    return (
        plain * prices.prompt
        + cached * _or(prices.cached, prices.prompt)
        + written * _or(prices.cache_write, prices.prompt)
        + usage.completion_tokens * prices.output
    ) / PER


def worst_usd(prompt_tokens: int, output_tokens: int, prices: TokenPrices | None) -> float | None:
    """Return the most that one request can cost: all of its prompt at the dearest price, all output used."""
    if prices is None:
        return None
    dearest = max(prices.prompt, _or(prices.cached, 0.0), _or(prices.cache_write, 0.0))
    return (prompt_tokens * dearest + output_tokens * prices.output) / PER


def _or(price: float | None, otherwise: float) -> float:
    return otherwise if price is None else price
