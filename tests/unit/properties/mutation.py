"""
Bad bytes made from good ones: flipped, cut, spliced; and documents that lie about themselves.

The seeds are fixed, so the gate tries the same bytes each time; `KIT_EXAMPLES=5000` tries more, at random.
"""

from __future__ import annotations

import copy
import json
import os
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from kit.core.errors import KitError
from kit.core.text import printable

MORE = os.environ.get("KIT_EXAMPLES")
QUICK = settings(
    max_examples=int(MORE or 50),
    derandomize=MORE is None,
    database=None,
    deadline=timedelta(seconds=60),  # a reader that takes longer hangs, for whoever waits for it
    suppress_health_check=list(HealthCheck),
)

DEEP = "[" * 20_000
LONG = "9" * 5000
HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 2**31, 2**53, 2**63, -(2**64), 10**400, 1e308, float("inf"), float("nan"),
    "", "\0", "\ud800", "../../etc/passwd", "/etc/passwd", "a\nb", "\x1b[2J", "x" * 70_000,
    "sha256:" + "0" * 64, "0" * 64, "0" * 64 + "\n", [], {}, [[]], [None], {"": None}, {"__class__": "x"},
)  # fmt: skip
"""Values that a document must not be believed about."""


def reads_or_refuses(read: Any, *arguments: Any, places: tuple[str, ...] = ()) -> Any:
    """
    Call a reader on bad bytes: it may understand them, or refuse with a KitError that names the place.

    Anything else that it raises is the test's failure. Returns what it read, or None.
    """
    try:
        return read(*arguments)
    except KitError as e:
        assert e.message and len(e.message) < 5000
        assert all(place in e.message for place in places), f"{e.message!r} names none of {places}"
        printable(e.message).encode()  # what cannot be written cannot be shown
        return None


@st.composite
def mutated(draw: Any, seed: bytes, most: int = 5) -> bytes:
    """Give `seed` after a few edits of its bytes."""
    data = bytearray(seed)
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.sampled_from((1, 2, 7, 64, 512)))
        match draw(st.sampled_from(("flip", "set", "cut", "drop", "insert", "splice", "double"))):
            case "flip" if data:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "set":
                data[at : at + 1] = draw(
                    st.sampled_from((b"\0", b"\xff", b"\n", b"9", b"-", b'"', b"{", b"\xed\xa0"))
                )
            case "cut":
                del data[at:]
            case "drop":
                del data[at : at + length]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=40))
            case "splice":
                other = draw(st.integers(0, max(len(seed) - 1, 0)))
                data[at : at + length] = seed[other : other + length]
            case "double":
                data[at:at] = data[at : at + length] * draw(st.sampled_from((1, 20)))
    return bytes(data)


def _paths(document: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [here]
    if isinstance(document, dict):
        found += [p for key in document for p in _paths(document[key], (*here, key))]
    if isinstance(document, list):
        found += [p for i in range(min(len(document), 4)) for p in _paths(document[i], (*here, i))]
    return found


@st.composite
def grafted(draw: Any, document: Any, values: tuple[Any, ...] = HOSTILE) -> Any:
    """Give a document with one to three places replaced, removed, renamed or added."""
    found = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(_paths(found)))
        if not path:
            continue
        parent = found
        for key in path[:-1]:
            parent = parent[key]
        value = copy.deepcopy(draw(st.sampled_from(values)))
        match draw(st.sampled_from(("replace", "replace", "replace", "remove", "add", "double"))):
            case "replace":
                parent[path[-1]] = value
            case "remove":
                del parent[path[-1]]
            case "add" if isinstance(parent, dict):
                parent[draw(st.sampled_from(("", "x", "\ud800", "_type")))] = value
            case "double" if isinstance(parent, list):
                parent.append(copy.deepcopy(parent[path[-1]]))
    return found


@st.composite
def spelled(draw: Any, document: Any) -> bytes:
    """Give a document as JSON, honest in form or not: twice the same key, deep nesting, a second document."""
    text = json.dumps(draw(grafted(document)), ensure_ascii=draw(st.booleans()))
    match draw(st.sampled_from(("plain", "plain", "plain", "twice", "deep", "long", "second", "float"))):
        case "twice":
            text = text.replace("{", '{"x": 1, "x": 2, ', 1)
        case "deep":
            text = text.replace(":", ":" + DEEP + ",", 1)
        case "long":
            text = text.replace(":", ":" + LONG + ",", 1)
        case "second":
            text += text[:50]
        case "float":
            text = text.replace("0", "1e999", 1)
    return text.encode("utf-8", "surrogatepass")


def json_of(seed: bytes) -> st.SearchStrategy[bytes]:
    """Give JSON bytes that were changed in their values or in their spelling."""
    return st.one_of(spelled(json.loads(seed)), mutated(seed))
