"""Every fault that can be made around a kit; each is made for real, and says in one line what came of it."""

from __future__ import annotations

from clocks import clock_set_back, slow_guest
from crowds import (
    large_log_beside_a_bundle,
    loud_guest,
    many_bundles,
    two_builds_at_once,
    two_runs_at_once,
)
from disks import full_runs_folder, full_store, read_only_home
from fault import Fault
from outages import engine_killed, no_network, series_killed, watcher_killed_too

FAULTS: tuple[Fault, ...] = (
    full_runs_folder, full_store, clock_set_back, no_network, two_runs_at_once, two_builds_at_once, read_only_home,
    series_killed, watcher_killed_too, loud_guest, large_log_beside_a_bundle, slow_guest, many_bundles,
)  # fmt: skip
OF_DOCKER: tuple[Fault, ...] = (engine_killed,)
