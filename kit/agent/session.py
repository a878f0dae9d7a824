"""Runs: from a request to a spec and its parts; start, resume (`RunRequest`, `AgentRun`, `open_run`)."""

from __future__ import annotations
