"""Repeat a recorded run offline, from its calls, evaluations and times (`replay`)."""

from __future__ import annotations
