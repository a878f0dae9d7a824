"""
A repository of submissions with whatever a board may have to show. TEST-ONLY keys, made-up times.

    python tests/assets/bundles/gallery.py DIR [RESULTS]

writes DIR/board and DIR/keys, to look at with `speedrun report DIR/board --keys DIR/keys`.
"""

from __future__ import annotations

import importlib.util
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit.audit.baseline import UNTIMED_OVERHEAD, UNTIMED_OVERHEAD_FIGURE
from kit.benchmark.tasks import Task, load_task
from kit.core.digest import sha256_file
from kit.core.facts import facts_root
from kit.leaderboard.submit.entry import BoardEntry, Retraction, write_submission
from kit.leaderboard.submit.series import verify_whole_series, write_series_submission
from kit.result.keys import Trusted
from kit.result.predicate import Audit, AuditCheck, Outcome, Reproduces, Series, Severity
from kit.result.verify import open_bundle
from kit.series.record import Arm, SeriesPlan, Slot, StopRule, close, reserved_series
from kit.values.profile import Profile

HERE = Path(__file__).parent
TASKS = (1, 3, 5, 8, 10, 13, 15, 18, 20)
AGENTS = (
    BoardEntry("greedy", "model-a"),
    BoardEntry("greedy", "model-a", (1,)),
    BoardEntry("tree-of-patches", "model-a", (1, 2, 3)),
    BoardEntry("tree-of-patches", "a-model-with-a-rather-long-name-2026-01-preview", (2,)),
    BoardEntry("by-hand", None),
)
SKILL = (0.05, 0.45, 0.8, 0.6, 0.95)
H200 = "NVIDIA H200"


def _press() -> Any:
    if "bundle_press" not in sys.modules:
        spec = importlib.util.spec_from_file_location("bundle_press", HERE / "press.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    return sys.modules["bundle_press"]


PRESS = _press()
SIGNER, OTHER = PRESS.MAKE.SIGNER, PRESS.MAKE.test_only_key("other")


@dataclass
class Gallery:
    """A repository below `where` that fills up."""

    where: Path
    trusted: Trusted = field(default_factory=lambda: Trusted((SIGNER.public, OTHER.public)))
    count: int = 0
    dice: random.Random = field(default_factory=lambda: random.Random(8))

    @property
    def root(self) -> Path:
        """The repository."""
        return self.where / "board"

    def sample(self, task: Task, share: float, **fields: Any) -> Any:
        """Return a run that recovers about this share of the task's gap."""
        self.count += 1
        time_ms = round(task.start.retimed_ms - task.gap_ms * (share + self.dice.gauss(0, 0.05)))
        given = {
            "record": task.number, "next_record": task.target.number, "time_ms": time_ms,
            "final_loss": round(self.dice.gauss(3.2782, 0.0012), 4), **fields,
        }  # fmt: skip
        return PRESS.Sample(self.count, **given)

    def add(self, sample: Any, entry: BoardEntry, signer: Any = SIGNER) -> Path:
        """Submit a run alone."""
        folder: Path = PRESS.press(self.where / "runs", sample, signer)
        write_submission(open_bundle(folder, self.trusted), entry, self.root)
        return folder

    def repeat(self, first: Path, task: Task, time_ms: int, loss: float) -> None:
        """Submit a counter-bundle under another key."""
        found = open_bundle(first, self.trusted)
        named = Reproduces(found.predicate.run.id, found.key_id, sha256_file(found.path))
        script = (first / "submission" / "train_gpt2.py").read_bytes()
        sample = self.sample(
            task, 0, script=script, extra=(("reproduces", named),), time_ms=time_ms, final_loss=loss
        )
        self.add(sample, BoardEntry("rerun"), OTHER)

    def series(
        self, task: Task, entry: BoardEntry, share: float, runs: int, made: int, end: bool = True
    ) -> None:
        """Submit a series of which `made` runs were made."""
        script = f"# {entry.agent} at {task.number}\n".encode()
        samples = [self.sample(task, share, script=script) for _ in range(runs)]
        slots = tuple(
            Slot(
                f"r{task.number:02d}-20260101T000000Z-{s.number:08x}", f"{s.number:032x}", Arm.CANDIDATE,
                PRESS.tree_of(script),
            )
            for s in samples
        )  # fmt: skip
        created = "2026-01-01T00:00:00.000+00:00"
        name = f"s{task.number:02d}-20260101T000000Z-{self.count:08x}"
        plan = SeriesPlan(name, created, task.number, Profile.FULL, StopRule.ALL_RUNS, slots)
        runs_folder = self.where / "runs"
        with reserved_series(runs_folder, plan, SIGNER) as (where, digest):
            for sample in samples[:made]:
                object.__setattr__(sample, "extra", (("series", Series(plan.id, digest)),))
                PRESS.press(runs_folder, sample, SIGNER)
            if end:
                close(where, plan, SIGNER, "all runs finished" if made == runs else "cancelled")
        write_series_submission(where, *verify_whole_series(where, self.trusted), entry, self.root)


def fill(where: Path, results: int) -> Gallery:
    """Make at least `results` results, the same every time, and one of each thing that is special."""
    made = Gallery(where)
    tasks = [load_task(facts_root(), number) for number in TASKS]
    _special(made, tasks)
    tiers = ("self-reported", "screened", "canary", "canary + held-out")
    while made.count < results:
        which = made.count % len(AGENTS)
        task = made.dice.choice(tasks)
        tier = tiers[(which + task.number) % len(tiers)]
        made.add(made.sample(task, SKILL[which], tier=tier), AGENTS[which])
    keys = where / "keys"
    keys.mkdir(exist_ok=True)
    for name, signer in (("signer", SIGNER), ("other", OTHER)):
        (keys / f"{name}.pem").write_bytes(signer.public.pem)
    return made


def _special(made: Gallery, tasks: list[Task]) -> None:
    first, second, third = tasks[1], tasks[3], tasks[4]
    made.series(first, AGENTS[2], 0.8, 3, 3)
    made.series(second, AGENTS[2], 0.7, 4, 2)
    made.series(third, AGENTS[2], 0.7, 5, 0, end=False)
    sample = made.sample(first, 0.9, tier="canary + held-out", final_loss=3.2780)
    original = made.add(sample, AGENTS[4])
    made.repeat(original, first, sample.time_ms, 3.2785)
    sample = made.sample(second, 0.9, final_loss=3.2780)
    made.repeat(made.add(sample, AGENTS[4]), second, sample.time_ms, 3.2999)
    gone = Retraction("2026-02-01", "it had seen the validation shard")
    made.add(made.sample(third, 1.3), BoardEntry("too-good", "model-b", retracted=gone))
    figures = ((UNTIMED_OVERHEAD_FIGURE, 12.5),)
    excess = (AuditCheck(UNTIMED_OVERHEAD.id, Severity.WARNING, Outcome.PASSED, "12.5 s are added", figures),)
    made.add(made.sample(first, 0.6, extra=(("audit", Audit(excess, 2)),)), AGENTS[0])
    made.add(made.sample(first, 0.6, gpu=H200), BoardEntry("by-hand", None, note="On another machine."))
    made.add(made.sample(first, 0.5, profile=Profile.SMOKE), AGENTS[0])
    made.add(made.sample(first, 0.5), BoardEntry("stranger", "model-a"), PRESS.MAKE.STRANGER)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    fill(folder, int(sys.argv[2]) if len(sys.argv) > 2 else 60)
