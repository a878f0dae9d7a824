"""Apply an answer and check the result as `speedrun check` does (`CheckedEditor`)."""

from __future__ import annotations
