"""A search of `fake_search` whose evaluations are signed run folders: a whole run's directory, for tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from fake_search import (
    START_FILES,
    USD_PER_TOKEN,
    FakePrices,
    FakeTransport,
    make_parts,
    make_spec,
    number,
)
from python_file import load_once

from kit.agent.evaluator import EvaluatedRun
from kit.agent.outcome import ReferenceTimes, findings_of, outcome_of
from kit.agent.search import SearchEnd, search
from kit.agent.spec import AgentSpec, ModelChoice
from kit.agent.summary import write_summary
from kit.core.digest import Sha256, sha256_file
from kit.result.keys import Trusted, throwaway
from kit.result.verify import open_bundle
from kit.values.run_spec import RuntimeName

REFERENCE = ReferenceTimes(5000.0, 4000.0)
PRICES = {
    "prompt": USD_PER_TOKEN * 1e6,
    "output": USD_PER_TOKEN * 1e6,
    "date": "2026-01-01",
    "source": "a test",
    "cached": None,
    "cache_write": None,
}


def press() -> ModuleType:
    """Return the module that prints run folders, signed with TEST-ONLY keys."""
    return load_once("bundle_press", Path(__file__).parent / "bundles" / "press.py")


def signer() -> Any:
    """Return the TEST-ONLY key."""
    return press().MAKE.SIGNER


def trusted() -> Trusted:
    """Return the trust in the TEST-ONLY key."""
    return Trusted((signer().public,))


@dataclass
class PressedEvaluator:
    """Prints a signed run folder for each evaluation; its loss and time follow from the script."""

    folder: Path
    log: str | None = None
    host: bool = False
    """Runs without isolation, each signed with a throwaway key."""
    made: list[str] = field(default_factory=list)

    def evaluate(
        self, submission: Path, reserved: Callable[[str], None], cancelled: Callable[[], bool]
    ) -> EvaluatedRun:
        (path,) = submission.iterdir()
        script = path.read_bytes()
        count = len(list(self.folder.iterdir())) if self.folder.is_dir() else 0
        start = script == START_FILES["train_gpt2.py"]
        loss = 3.279 if start or number("loss", script) % 4 else 3.5
        time = 5000 if start else 4000 + number("time", script) % 1500
        runtime = RuntimeName.HOST if self.host else RuntimeName.RUNC
        sample = press().Sample(
            count, runtime=runtime, script=script, final_loss=loss, time_ms=time, log=self.log
        )
        reserved(f"r03-20260101T000000Z-{count:08x}")
        made = press().press(self.folder, sample, throwaway() if self.host else signer())
        self.made.append(made.name)
        return self._read(made)

    def close(self, run_id: str) -> EvaluatedRun | None:
        return self._read(self.folder / run_id) if (self.folder / run_id).is_dir() else None

    def _read(self, made: Path) -> EvaluatedRun:
        bundle = open_bundle(made / "result.json", trusted())
        p = bundle.predicate
        losses = tuple((v.step, v.val_loss) for v in p.claims.val_points if v.val_loss is not None)
        outcome = outcome_of(p, sha256_file(made / "result.json"), REFERENCE)
        return EvaluatedRun(outcome, made / "guest.log", findings_of(p), losses)


def pressed_spec(
    scaffold: str = "aide", seed: int = 7, max_nodes: int | None = None, **changes: Any
) -> AgentSpec:
    """Return a spec whose profile has the prices of the fake, with at most `max_nodes` nodes."""
    profile = (("base_url", "http://127.0.0.1"), ("prices", PRICES))
    model = ModelChoice("fake", profile, Sha256("1" * 64))
    spec = make_spec(scaffold, seed=seed, model=model, **changes)
    if max_nodes is not None:
        spec = replace(spec, policy=replace(spec.policy, max_nodes=max_nodes))
    return replace(
        spec,
        evaluation=replace(
            spec.evaluation, start_ms=REFERENCE.start_ms, target_ms=REFERENCE.target_ms, start_sd_ms=None
        ),
    )


def pressed_run(
    folder: Path,
    spec: AgentSpec | None = None,
    transport: FakeTransport | None = None,
    evaluator: PressedEvaluator | None = None,
    summary: bool = True,
) -> SearchEnd:
    """Run a search into `folder`, with signed bundles and a signed summary."""
    parts = make_parts(
        folder,
        evaluator=evaluator or PressedEvaluator(folder / "bundles"),
        transport=transport or FakeTransport(),
        prices=FakePrices(),
    )
    end = search(folder, spec or pressed_spec(), parts)
    if summary:
        write_summary(folder, signer())
    return end
