"""What a run works on: the task's text, hints, start script and reference times."""

from __future__ import annotations
