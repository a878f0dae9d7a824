"""Facts about the upstream speedrun records and the smoke records, and their scripts."""

from __future__ import annotations

from kit.benchmark.records.evidence import cadence_of as cadence_of
from kit.benchmark.records.evidence import smoke_cadence as smoke_cadence
from kit.benchmark.records.record import (
    TARGET_VAL_LOSS,
    UPSTREAM,
    PinnedLog,
    Record,
    Script,
    ScriptFile,
    ScriptSource,
    UpstreamFile,
    WorldSize,
    known,
    known_smoke,
    load,
    load_all,
)
from kit.benchmark.records.script import (
    Sources,
    fetch_script,
    nowhere,
    own_digest,
    run_toml,
    script_files,
    sources,
)
from kit.benchmark.records.transition import Transition, TransitionKind

__all__ = [
    "TARGET_VAL_LOSS",
    "UPSTREAM",
    "PinnedLog",
    "Record",
    "Script",
    "ScriptFile",
    "ScriptSource",
    "Sources",
    "Transition",
    "TransitionKind",
    "UpstreamFile",
    "WorldSize",
    "fetch_script",
    "known",
    "known_smoke",
    "load",
    "load_all",
    "nowhere",
    "own_digest",
    "run_toml",
    "script_files",
    "sources",
]
