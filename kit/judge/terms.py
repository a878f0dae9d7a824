"""
Terms: the expressions of a script in one spelling, so that equivalent forms are equal.

A term is a tuple whose first item names its kind:

    ("num", 0.5)  ("text", "mean")  ("ref", "relu")  ("name", "x", 3)  ("attr", base, "weight")
    ("call", "relu", (arguments), ((keyword, value), ...))  ("local", "Muon", (...), (...))
    ("sum", ...)  ("product", ...)  ("div", a, b)  ("pow", a, b)  ("matmul", a, b)  ("less", a, b)  ...

`x.relu()`, `F.relu(x)` and `torch.relu(x)` are one term; so are `x ** 2` and `x.square()`, `64 * 1024`,
`1 << 16` and `65536`, `a > b` and `b < a`, and casts in all their spellings. Names of imported modules do not
matter.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable
from typing import Any

Term = tuple[Any, ...]

VARIABLE = "_variable_"
"""How a metavariable `$X` of a pattern is spelled in Python."""
REST: Term = ("rest",)
"""`...` in the arguments of a pattern's call: any further arguments."""
MOST_FACTORS = 12
"""Factors of a product that are compared with each other."""
LARGEST = 2.0**63
"""Larger numbers are not computed."""

_FOLDS: dict[str, Callable[[float, float], float]] = {
    "div": lambda a, b: a / b,
    "pow": lambda a, b: math.pow(a, b),
    "floordiv": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
    "LShift": lambda a, b: a * math.pow(2, b),
}
_BINARY = {ast.Div: "div", ast.Pow: "pow", ast.FloorDiv: "floordiv", ast.Mod: "mod", ast.MatMult: "matmul"}
_UNORDERED = {ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor", ast.And: "and", ast.Or: "or"}
_DTYPES = frozenset(
    ("bfloat16", "float16", "float32", "float64", "int32", "int64", "float8_e4m3fn", "float8_e5m2")
)
_CASTS = {"bfloat16": "bfloat16", "float": "float32", "half": "float16", "double": "float64", "long": "int64"}
_SYNONYMS = {
    "zeros_": "zero_", "div": "div", "divide": "div", "mul": "product", "multiply": "product", "add": "sum",
    "matmul": "matmul", "mm": "matmul", "bmm": "matmul", "logical_and": "and", "logical_or": "or",
    "logical_xor": "xor", "square": "square", "sqrt": "sqrt", "rsqrt": "rsqrt", "neg": "neg", "lt": "less",
    "gt": "greater", "pow": "pow", "transpose": "T", "t": "T", "detach": "same", "requires_grad_": "same",
    "sub": "minus", "subtract": "minus", "swapaxes": "T", "swapdims": "T", "greater": "greater",
    "addcmul": "addcmul",
}  # fmt: skip
_IN_PLACE = frozenset(
    ("add_", "sub_", "mul_", "div_", "pow_", "square_", "sqrt_", "rsqrt_", "neg_", "lerp_", "clamp_")
)
_TRANSPOSED = frozenset(("T", "mT", "H", "mH"))
_LAST_TWO = frozenset(((-1.0, -2.0), (-2.0, -1.0), (0.0, 1.0), (1.0, 0.0)))


def number(value: float) -> Term:
    """Return the term of a number."""
    return ("num", float(value))


def fold(kind: str, a: Term, b: Term) -> Term:
    """Return `a` and `b` under a binary operator, computed if both are numbers of a moderate size."""
    if kind in _FOLDS and a[0] == b[0] == "num":
        try:
            value = _FOLDS[kind](a[1], b[1])
        except (ArithmeticError, ValueError):
            return (kind, a, b)
        if isinstance(value, float) and abs(value) < LARGEST:
            return number(value)
    return (kind, a, b)


def join(kind: str, parts: Iterable[Term]) -> Term:
    """Return a sum, a product or another operator without order, flat, its numbers computed."""
    flat: list[Term] = []
    for part in parts:
        flat += part[1:] if part[0] == kind else (part,)
    if kind in ("sum", "product"):
        numbers = [p[1] for p in flat if p[0] == "num"]
        rest = [p for p in flat if p[0] != "num"]
        rest = _powers(rest) if kind == "product" and len(rest) <= MOST_FACTORS else rest
        value = math.fsum(numbers) if kind == "sum" else math.prod(numbers)
        if abs(value) >= LARGEST or not math.isfinite(value):
            return (kind, *flat)
        neutral = 0.0 if kind == "sum" else 1.0
        flat = (
            rest if numbers and value == neutral and rest else [*rest, *([number(value)] if numbers else [])]
        )
    return flat[0] if len(flat) == 1 else (kind, *flat)


def _powers(factors: list[Term]) -> list[Term]:
    """Return factors with equal ones as powers."""
    counts = {factor: factors.count(factor) for factor in factors}
    return [factor if n == 1 else fold("pow", factor, number(n)) for factor, n in counts.items()]


def negative(term: Term) -> Term:
    """Return a term times -1."""
    return join("product", (number(-1), term))


def binary(op: ast.operator, a: Term, b: Term) -> Term:
    """Return `a op b`."""
    match op:
        case ast.Add():
            return join("sum", (a, b))
        case ast.Sub():
            return join("sum", (a, negative(b)))
        case ast.Mult():
            return join("product", (a, b))
    if type(op) in _UNORDERED:
        return join(_UNORDERED[type(op)], (a, b))
    return fold(_BINARY.get(type(op), type(op).__name__), a, b)


def boolean(op: ast.boolop, parts: Iterable[Term]) -> Term:
    """Return a chain of `and` or `or`."""
    return join(_UNORDERED[type(op)], parts)


def inverted(term: Term) -> Term:
    """Return `not term`."""
    return term[1] if term[0] == "not" else ("not", term)


def comparison(op: ast.cmpop, a: Term, b: Term) -> Term:
    """Return `a op b` with `<`, `==`, `in` and `not` alone."""
    match op:
        case ast.Lt():
            return ("less", a, b)
        case ast.Gt():
            return ("less", b, a)
        case ast.GtE():
            return inverted(("less", a, b))
        case ast.LtE():
            return inverted(("less", b, a))
        case ast.NotEq():
            return inverted(("equal", a, b))
        case ast.Eq():
            return ("equal", a, b)
        case ast.IsNot() | ast.NotIn():
            return inverted((type(op).__name__.lower()[:2], a, b))
        case _:
            return (type(op).__name__.lower(), a, b)


def attribute(base: Term, name: str) -> Term:
    """Return `base.name`; data and detached tensors are the tensor."""
    if name in _TRANSPOSED:
        return ("T", base)
    return base if name == "data" else ("attr", base, name)


def call(name: str, args: tuple[Term, ...], keywords: tuple[tuple[str, Term], ...]) -> Term:
    """Return the call of a function or a method called `name`; a method's object is the first argument."""
    given = dict(keywords)
    name = name.removesuffix("_") if name in _IN_PLACE else name
    if name in ("to", "type", "astype") and args:
        return _cast(args, given)
    if name in _CASTS and len(args) == 1 and not given:
        return ("cast", args[0], _CASTS[name])
    if name == "type_as" and len(args) == 2:
        return ("cast_as", *args)
    if name in ("constant_", "fill_") and len(args) == 2 and args[1] == number(0):
        return ("call", "zero_", args[:1], ())
    if name in ("max", "min") and len(args) == 2 and not given and REST not in args:
        return (name, *args)
    if name == "pop" and len(args) == 2 and args[1] == number(-1):
        return ("call", "pop", args[:1], ())
    if _is_relu(name, args, given):
        return ("call", "relu", args[:1], ())
    if name == "range" and len(args) == 2 and args[0] == number(0):
        return ("call", "range", args[1:], keywords)
    if name == "contiguous" and len(args) == 1:
        return args[0]
    plain = _operator(_SYNONYMS.get(name, ""), args, given)
    if plain is not None:
        return plain
    return ("call", "zero_" if name == "zeros_" else name, args, keywords)


def _is_relu(name: str, args: tuple[Term, ...], given: dict[str, Term]) -> bool:
    """Tell whether a call cuts off what is below zero."""
    least = [*args[1:], *given.values()]
    if name == "relu_" or (name in ("clip", "clamp", "clamp_min") and least == [number(0)]):
        return set(given) <= {"min"} and len(args) >= 1
    return False


def _operator(kind: str, args: tuple[Term, ...], given: dict[str, Term]) -> Term | None:
    """Return a call that is an operator in other words, or None."""
    match kind, args:
        case "square", (x,):
            return fold("pow", x, number(2))
        case "sqrt", (x,):
            return fold("pow", x, number(0.5))
        case "rsqrt", (x,):
            return fold("pow", x, number(-0.5))
        case "neg", (x,):
            return negative(x)
        case "same", (x,):
            return x
        case "T", (x,):
            return ("T", x)
        case "T", (x, ("num", a), ("num", b)) if (a, b) in _LAST_TWO:
            return ("T", x)
        case "less", (a, b):
            return ("less", a, b)
        case "greater", (a, b):
            return ("less", b, a)
        case ("matmul" | "pow" | "div") as same, (a, b) if not given:
            return fold(same, a, b)
        case ("sum" | "product" | "and" | "or" | "xor") as same, (a, b) if not given:
            return join(same, (a, b))
        case "sum", (a, b) if set(given) == {"alpha"}:
            return join("sum", (a, join("product", (given["alpha"], b))))
        case "addcmul", (a, b, c) if set(given) <= {"value"}:
            return join("sum", (a, join("product", (b, c, *given.values()))))
        case "minus", (a, b) if not given:
            return join("sum", (a, negative(b)))
    return None


def _cast(args: tuple[Term, ...], given: dict[str, Term]) -> Term:
    kinds = [*args[1:], *(value for key, value in given.items() if key == "dtype")]
    for kind in kinds:
        if kind[0] == "ref" and kind[1] in _DTYPES:
            return ("cast", args[0], kind[1])
        if kind[0] == "ref" and kind[1] == "float":
            return ("cast", args[0], "float32")
        if kind[0] == "attr" and kind[2] == "dtype":
            return ("cast_as", args[0], kind[1])
    return ("call", "to", args, tuple(sorted(given.items())))
