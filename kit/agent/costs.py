"""The prices of a profile's calls (`ProfilePrices`), and the most that a run can cost (`worst_case`)."""

from __future__ import annotations
