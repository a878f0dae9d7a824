"""Time the winner again in a fresh series with all audits (`retime_winner`)."""

from __future__ import annotations
