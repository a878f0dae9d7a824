"""The key of an endpoint, which no file, text or exception of this kit shows."""

from __future__ import annotations

import re
from typing import Any, NoReturn

from kit.core.errors import UsageError

REDACTED = "[api key]"
MIN_SECRET = 8
"""Shorter keys are placeholders of servers that check none (`none`, `EMPTY`) and are not redacted."""

_PREFIXED = re.compile(
    r"(?:\b(?:sk|rk|pk)[-_]|\bBearer\s|\bBasic\s|\b(?:gsk|hf|ghp|r8|fw|csk|tgp)_|\bxai-|\bnvapi-|\bpplx-|\bAIza)[\w.+/=-]{8,}"
)
_HEXADECIMAL = re.compile(r"(?<![0-9A-Za-z])(?:[0-9a-f]{32,}|[0-9A-F]{32,})(?![0-9A-Za-z])")
_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE)
_RANDOM = re.compile(r"[0-9A-Za-z]{24,}")


class ApiKey:
    """A key. It has no `repr`, cannot be pickled or copied, and compares by identity."""

    __slots__ = ("_value",)

    def __init__(self, value: str, source: str = "the API key") -> None:
        """
        Keep `value`; `source` names where it came from, for the error.

        Raises `UsageError` for an empty key and for characters that cannot be in a header. The error does
        not contain the key.
        """
        if not value or not all("!" <= c <= "~" for c in value):
            raise UsageError(
                f"{source} is empty or contains blanks, line ends or other characters that no key has",
                "set it again, without quotation marks and without a line end",
            )
        self._value = value

    def reveal(self) -> str:
        """Return the key itself: for the Authorization header alone."""
        return self._value

    def redact(self, text: str) -> str:
        """Return `text` without the key."""
        return text.replace(self._value, REDACTED) if len(self._value) >= MIN_SECRET else text

    def redact_json(self, value: Any) -> Any:
        """Return a JSON value without the key in any of its texts and names."""
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, list):
            return [self.redact_json(item) for item in value]
        if isinstance(value, dict):
            return {self.redact(name): self.redact_json(item) for name, item in value.items()}
        return value

    def __repr__(self) -> str:
        return "ApiKey(...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an API key cannot be pickled or copied")


NO_KEY = ApiKey("none")
"""What a server that checks no key is sent."""


def looks_like_key(text: str, address: bool = False) -> bool:
    """
    Tell whether `text` contains what is probably a key; digests look like one too.

    An address may contain a hexadecimal account number.
    """
    if _PREFIXED.search(text) or (not address and (_HEXADECIMAL.search(text) or _UUID.search(text))):
        return True
    return any(
        any(map(str.isdigit, run)) and any(map(str.islower, run)) and any(map(str.isupper, run))
        for run in _RANDOM.findall(text)
    )
