"""The grid of a sweep: `sweep.toml`, and the cells that it stands for (`read_grid`, `cells_of`)."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.agent.answers import packaged_answers
from kit.agent.budget import parse_budget
from kit.agent.llm.profile import ModelProfile, load_profile
from kit.agent.llm.scripted import SCRIPTED, load_script, script_toml
from kit.agent.prompt import prompt_set
from kit.benchmark.hints import SMOKE_TASKS, known_hints
from kit.benchmark.tasks import TaskSet, load_tasks
from kit.core.codec import encode
from kit.core.digest import Sha256, canonical_json, sha256_bytes
from kit.core.errors import UsageError
from kit.core.facts import facts_root
from kit.core.reading import unreadable
from kit.core.schema import read_bounded, read_toml
from kit.evaluate.request import HOST_IMAGE
from kit.image.spec import eras
from kit.values.run_spec import RuntimeName
from kit.values.task_id import LATER_SET, is_smoke, set_of

SCHEMA = "sweep.v1"
ID_DIGITS = 16
MAX_CELLS = 200_000


@dataclass(frozen=True, slots=True)
class SweepCell:
    """One run of an agent: every choice that its result depends on. Its digest is its name."""

    task: str
    hints: tuple[int, ...]
    """Hint levels, ascending; empty for none."""
    scaffold: str
    fidelity: str
    model: str
    """Name of the model, or `scripted`."""
    model_sha256: Sha256
    """Digest of the model's profile; for `scripted`, of the profile that the answers make."""
    seed: int
    nodes: int | None
    """Nodes of the search; None: the scaffold's own."""
    budget: str
    """As `speedrun agent run --budget` takes it."""
    controls: int
    retime: int
    profile: str
    image: str | None
    gpus: int | None
    runtime: str
    start_s: float | None
    """Training time of the start script on the sweep's machines in seconds; None: the record's."""
    target_s: float | None
    kit_version: str
    prompts_sha256: Sha256

    @property
    def id(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the cell's canonical JSON."""
        return _cell_id(self)

    @property
    def hint_text(self) -> str:
        """Hint levels as `--hints` takes them: `0`, `1,3`."""
        return ",".join(map(str, self.hints)) or "0"


@functools.cache
def _cell_id(cell: SweepCell) -> str:
    """Return the id of a cell, which is asked for often and is slow to make for thousands of cells."""
    return sha256_bytes(canonical_json(encode(SweepCell, cell)))[:ID_DIGITS]


@dataclass(frozen=True, slots=True)
class SlurmOptions:
    """What a site's Slurm asks for. None: the site's default."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    gres: str | None = None
    cpus: int | None = None
    memory: str | None = None
    """As `sbatch --mem` takes it."""
    time: str | None = None
    """Walltime of a cell, such as `12h`; None: from the deadlines of its evaluations."""
    parallel: int | None = None
    """Cells of one array that run at the same time."""
    chunk: int = 1000
    """Cells of one array; must be below the site's MaxArraySize."""
    setup: tuple[str, ...] = ()
    """Shell lines before each cell, such as `module load`."""
    srun: tuple[str, ...] = ()
    """Options of srun, such as those of pyxis."""
    prefix: tuple[str, ...] = ()
    """A program and its options that start a cell's command, such as `apptainer exec`."""


@dataclass(frozen=True, slots=True)
class SweepPlaces:
    """Directories on the machine that runs a cell. `$VARIABLES` are those of that machine."""

    store: str | None = None
    mirror: str | None = None
    keys: str | None = None
    python: str | None = None
    """An interpreter that has torch, for the runtime `host`."""


@dataclass(frozen=True, slots=True)
class ExpectedTimes:
    """Times that no deadline bounds, as the sweep's author expects them, in seconds."""

    call_s: float
    """One call of a model."""
    start_s: float
    """What the job of one evaluation needs before its script starts: Python, the image, the probes."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A sweep as its author wrote it, with the profiles of its models."""

    name: str
    cells: tuple[SweepCell, ...]
    """In the order of tasks, hints, scaffolds, models and seeds."""
    models: tuple[tuple[Sha256, bytes], ...]
    """The profile's file of each model by the profile's digest, without `scripted`."""
    answers: bytes | None
    """The answers of `scripted` in one file; None: those of the package."""
    times: ExpectedTimes
    places: SweepPlaces
    slurm: SlurmOptions


def read_grid(path: Path, kit_version: str) -> Grid:
    """
    Read `sweep.toml`; model profiles and answers are relative to its directory.

    Raises `PrerequisiteError` for a missing file, `SchemaError` for one that violates the schema,
    `UsageError` for an unknown task or budget, and as reading profiles and answers does.
    """
    document = _whole(read_toml(path, SCHEMA))
    given = document.get("answers")
    script = packaged_answers() if given is None else load_script(path.parent / given)
    profiles = {
        name: script.profile() if name == SCRIPTED else load_profile(path.parent / name)
        for name in document["models"]
    }
    if given is not None and SCRIPTED not in profiles:
        raise UsageError(f"{path}: answers needs the model {SCRIPTED!r}", "add it to models, or omit answers")
    files = {p.sha256(): _read(path.parent / name) for name, p in profiles.items() if name != SCRIPTED}
    if len(files) + (SCRIPTED in profiles) < len(profiles):
        raise UsageError(f"{path}: two model profiles are equal", "list each model once")
    parse_budget(document.get("budget", ""))
    _require_runtime(document, str(path))
    slurm: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in document.get("slurm", {}).items()
    }
    return Grid(
        name=document["name"],
        cells=_cells(document, profiles, kit_version, str(path)),
        models=tuple(sorted(files.items())),
        answers=None if given is None else script_toml(script),
        times=ExpectedTimes(
            call_s=float(document.get("seconds_per_call", 60.0)),
            start_s=float(document.get("seconds_per_start", 60.0)),
        ),
        places=SweepPlaces(**document.get("places", {})),
        slurm=SlurmOptions(**slurm),
    )


def _cells(
    document: Mapping[str, Any], profiles: Mapping[str, ModelProfile], kit_version: str, where: str
) -> tuple[SweepCell, ...]:
    seeds = document["seeds"]
    seeds = range(seeds) if isinstance(seeds, int) else seeds
    _, prompts_sha256 = prompt_set()
    digests = {name: (profile.name, profile.sha256()) for name, profile in profiles.items()}
    times = document.get("times", {})
    tasks = _tasks(document["tasks"], where)
    _require_tasks(document, tasks, where)
    _require_hints(tasks, document["hints"], where)
    lists = (tasks, document["hints"], document["scaffolds"], document["models"], seeds)
    if (size := math.prod(map(len, lists))) > MAX_CELLS:
        raise UsageError(
            f"{where}: {size:,} cells, and a sweep has at most {MAX_CELLS:,}", "make several sweeps"
        )
    cells = tuple(
        SweepCell(
            task=task,
            hints=tuple(sorted({int(level) for level in hints.split(",")} - {0})),
            scaffold=scaffold,
            fidelity=document.get("fidelity", "paper"),
            model=SCRIPTED if model == SCRIPTED else digests[model][0],
            model_sha256=digests[model][1],
            seed=seed,
            nodes=document.get("nodes"),
            budget=document.get("budget", "").replace(" ", ""),
            controls=document.get("controls", 0),
            retime=document.get("retime", 0),
            profile=document.get("profile", "smoke" if is_smoke(task) else "full"),
            image=document.get("image"),
            gpus=None if is_smoke(task) else document.get("gpus"),
            runtime=document.get("runtime", "auto"),
            start_s=times.get(task, {}).get("start_s"),
            target_s=times.get(task, {}).get("target_s"),
            kit_version=kit_version,
            prompts_sha256=prompts_sha256,
        )
        for task, hints, scaffold, model, seed in itertools.product(*lists)
    )
    if len({cell.id for cell in cells}) < len(cells):
        raise UsageError(f"{where}: two cells are equal", "list each task and each set of hints once")
    return cells


def _require_runtime(document: Mapping[str, Any], where: str) -> None:
    """Refuse what no cell can run, before any is started."""
    image = document.get("image", HOST_IMAGE)
    if image != HOST_IMAGE and image not in eras(facts_root() / "images"):
        raise UsageError(f"{where}: there is no image {image!r}", "list the images: speedrun image list")
    if document.get("runtime") != RuntimeName.HOST:
        return
    if document.get("retime"):
        raise UsageError(
            f"{where}: retime needs a runtime that isolates the guest, and runtime is {RuntimeName.HOST}",
            "remove retime, or choose another runtime",
        )
    if image != HOST_IMAGE:
        raise UsageError(f"{where}: runtime {RuntimeName.HOST} cannot run image {image!r}", "remove image")


def _tasks(names: Sequence[str], where: str) -> tuple[str, ...]:
    sets = {
        str(s): [task.name for task in load_tasks(facts_root(), s)] for s in (TaskSet.PAPER, TaskSet.LATER)
    }
    known = {*itertools.chain(*sets.values()), *SMOKE_TASKS}
    tasks = [task for name in names for task in sets.get(name, [name])]
    for task in tasks:
        if task not in known:
            raise UsageError(f"{where}: there is no task {task!r}", "list the tasks: speedrun task list")
    return tuple(tasks)


def _require_tasks(document: Mapping[str, Any], tasks: Sequence[str], where: str) -> None:
    """Refuse times and hints that no cell can use."""
    for task, times in document.get("times", {}).items():
        if task not in tasks:
            raise UsageError(f"{where}: times are given for {task!r}, which is no task of the sweep")
        if times.get("target_s", 0) >= times["start_s"]:
            raise UsageError(
                f"{where}: target_s of task {task} is {times['target_s']:g}, not below its start_s, "
                f"{times['start_s']:g}"
            )
    if document.get("profile") == "smoke" and any(hints != "0" for hints in document["hints"]):
        for task in tasks:
            if not is_smoke(task):
                raise UsageError(
                    f"{where}: the hints of task {task} are about its record's script, and the smoke profile "
                    "has another script",
                    'set hints = ["0"], or profile = "full"',
                )


def _whole(value: Any) -> Any:
    """Return a document with whole floats as integers: a schema takes `2.0` for an integer."""
    if isinstance(value, dict):
        return {name: _whole(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _require_hints(tasks: Sequence[str], hints: Sequence[str], where: str) -> None:
    known = [str(task) for task in known_hints(facts_root(), LATER_SET)]
    bare = [task for task in tasks if set_of(task) == LATER_SET and task not in known]
    asked = [levels for levels in hints if levels != "0"]
    if bare and asked:
        raise UsageError(
            f"{where}: hints {asked[0]!r} are listed, and task {bare[0]} has none",
            f'use hints = ["0"], or later tasks that have hints: {", ".join(known) or "none"}',
        )


def _read(path: Path) -> bytes:
    try:
        return read_bounded(path)
    except OSError as e:
        raise unreadable(path, e) from e
