"""Export a task in the smoke profile: the smoke start script, its arguments and the text for the agent."""

from __future__ import annotations

from pathlib import Path

from kit.benchmark.task_files import TEXT
from kit.benchmark.tasks import SmokeTerms, TaskHandout, load_task, smoke_handout, write_writable
from kit.data.synth import SmokeSpec, load_smoke
from kit.evaluate.request import Places
from kit.evaluate.start_script import ReferenceTrainer
from kit.evaluate.terms import SMOKE_ERA
from kit.image.lock import read_lock
from kit.image.spec import read_spec


def export_smoke_task(root: Path, task: int | str, places: Places, out: Path) -> TaskHandout:
    """
    Write `TASK.md`, the reference trainer as `train_gpt2.py`, and `run.toml` into the directory `out`.

    `root` is that of `kit.core.facts.facts_root`. Raises `UsageError` for an unknown task or a directory in
    use, and as reading the image's lock does.
    """
    number = load_task(root, task).number
    smoke = load_smoke(places.records)
    script = ReferenceTrainer(smoke.guest.args).files(places)
    text = smoke_handout(number, smoke_terms(smoke, places))
    files = {**{file.name: file.data for file in script}, TEXT: text.encode()}
    write_writable(out, files)
    return TaskHandout(out, number, tuple(sorted(files)))


def smoke_terms(smoke: SmokeSpec, places: Places) -> SmokeTerms:
    """Return what a task's text says about the smoke profile. Raises as reading the image's lock does."""
    lock = read_lock(read_spec(places.images, SMOKE_ERA))
    return SmokeTerms(
        target=smoke.target,
        floor=smoke.floor,
        val_tokens=smoke.val_tokens,
        shards=len(smoke.train),
        shard_tokens=smoke.train[0].tokens,
        words=smoke.language.words,
        world_size=smoke.guest.world_size,
        memory=smoke.guest.memory,
        untimed_steps=smoke.guest.untimed_steps,
        deadlines=smoke.deadlines,
        torch=next(wheel.version for wheel in lock.wheels if wheel.project == "torch"),
    )
