"""The request of a user, and the directories that an evaluation uses. Checks nothing on the machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kit.core.store import Fetcher, Progress, Store, no_progress
from kit.gpu.preflight import Sources
from kit.result.predicate import CompileCache
from kit.sandbox.engine import SocketFinder, default_engine
from kit.values.deadlines import Deadlines
from kit.values.profile import Profile
from kit.values.run_spec import RuntimeName
from kit.values.software import Kit

HOST_IMAGE = "host"
"""The value of `--image` that means the machine's own files."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """Deadlines in seconds that replace the profile's or record's; None keeps them."""

    start_s: float | None = None
    warmup_s: float | None = None
    stall_s: float | None = None
    teardown_s: float | None = None
    total_s: float | None = None

    def applied(self, deadlines: Deadlines) -> Deadlines:
        """Return `deadlines` with what is given here replaced."""
        given = {name: getattr(self, name) for name in self.__slots__ if getattr(self, name) is not None}
        return replace(deadlines, **given)


@dataclass(frozen=True, slots=True)
class Request:
    """One evaluation."""

    record: str | int
    """The start record's name: 3, 21c, smoke-1."""
    profile: Profile
    submission: Path | None = None
    """None runs the record's own script, or the reference trainer for upstream's records in a smoke run."""
    runtime: RuntimeName | None = None
    """None means the first containing one that works."""
    image: str | None = None
    """An era or `host`; None means the one that belongs to the profile and record."""
    gpus: int | None = None
    accept_world_size: bool = False
    """Allow a number of GPUs that changes the record's steps; such a run is never ranked."""
    overrides: Overrides = field(default_factory=Overrides)
    python: Path | None = None
    """The interpreter that `--image host` offers."""
    compile_cache: CompileCache = CompileCache.COLD
    """Warm: the guest starts with the sealed cache of the start record's own script; never ranked."""
    engine: SocketFinder = default_engine
    """Returns the URL of the socket at which Docker or Podman would answer; called only if one is needed."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where an evaluation reads and writes, and its progress callback."""

    records: Path
    images: Path
    store: Store
    out: Path
    keys: Path
    fetchers: Sequence[Fetcher]
    kit: Kit
    gpus: Sources = field(default_factory=Sources)
    """The sources of the GPU preflight."""
    offline: bool = False
    """Whether the network must not be used, not even for scripts of records."""
    upstream: Path | None = None
    """A local git directory of the upstream repository, for records' scripts."""
    turns: Path | None = None
    """Where runs wait for others on the same GPUs, see `kit.sandbox.turn`. None: they do not wait."""
    progress: Progress = no_progress
