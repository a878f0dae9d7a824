"""The scripted answers that the package ships; not a model."""

from __future__ import annotations
