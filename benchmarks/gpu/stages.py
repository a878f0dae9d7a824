"""
The reference trainer as a submission that prints its stages, and a table of when the host read them.

    python benchmarks/gpu/stages.py FOLDER --task 62 --steps 60
    python benchmarks/gpu/stages.py --show OUT/runs/RUN_ID ...

Writes the submission, or prints the table of runs with it. The text is the kit's trainer with a line at each
stage, with the untimed steps of the task's record, and without what the audits of the source refuse in a
submission: `os._exit`, reading the header of a shard, and two names that look like a changed number of
validation tokens.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from arms import Kitted, row, submission

from kit.benchmark import records
from kit.core.facts import facts_root
from kit.data.synth import load_smoke
from kit.evaluate.start_script import REFERENCE
from kit.values.task_id import is_smoke

MARK = "stage: "
STAGE = f"""from typing import NoReturn

STAGES = []


def stage(text, team=None):
    if text in STAGES:
        return
    STAGES.append(text)
    if team is not None:
        team.wait()
    if os.environ.get("RANK", "0") == "0":
        print(f"{MARK}{{text}}", flush=True)


stage("script begun")
"""
"""Each stage is printed once, by rank 0, after what its GPU was given has finished."""
DEVICE = '    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")\n'
GRADIENTS = "        if dist.is_initialized():\n            flat = "
OPENED = "        Trainer(a, assemble(), stream, val).run()\n"
ENDED = '        if dist.get_backend() == "gloo":\n            os._exit(code)\n'
HEADER = """\
    size = os.path.getsize(path)
    header = np.fromfile(path, dtype="<i4", count=HEADER_BYTES // 4)
    if len(header) < HEADER_BYTES // 4 or header[0] != MAGIC or header[1] != VERSION:
        raise Fault(f"{path} is not a version {VERSION} FineWeb shard")
    if size != HEADER_BYTES + 2 * int(header[2]):
        raise Fault(f"{path} is {size} bytes, but its header says {header[2]} tokens")
"""


@dataclass(frozen=True, slots=True)
class Edit:
    """One replacement in the trainer's text."""

    old: str
    new: str
    times: int = 1
    """How often `old` must occur."""


STAGED = (
    Edit("from typing import NoReturn\n", STAGE),
    Edit("from torch import Tensor, nn\n", 'from torch import Tensor, nn\n\nstage("torch imported")\n'),
    Edit(DEVICE, f'{DEVICE}    stage("device set")\n'),
    Edit(
        OPENED,
        '        stage("shards opened")\n        team = assemble()\n        stage("process group up", team)\n'
        "        Trainer(a, team, stream, val).run()\n",
    ),
    Edit(
        "        self.model = Model(a).to(team.device)\n",
        '        self.model = Model(a).to(team.device)\n        stage("model on the device", team)\n',
    ),
    Edit(
        "            total += self.summed_loss(rows, targets)\n",
        "            total += self.summed_loss(rows, targets)\n"
        '            stage("first forward of the validation", self.team)\n',
    ),
    Edit(
        "            (self.summed_loss(rows, targets) / a.batch_tokens).backward()\n",
        "            loss = self.summed_loss(rows, targets) / a.batch_tokens\n"
        '            stage("first forward of the training", self.team)\n'
        "            loss.backward()\n"
        '            stage("first backward", self.team)\n',
    ),
    Edit(GRADIENTS, f'        stage("gradient of the first step", self.team)\n{GRADIENTS}'),
    Edit(
        "        scale = self.scale(step)\n",
        '        stage("gradients summed over the ranks", self.team)\n        scale = self.scale(step)\n',
    ),
    Edit(
        "        self.muon.step(scale)\n",
        '        self.muon.step(scale)\n        stage("first optimizer step", self.team)\n',
    ),
)
AUDITED = (
    Edit("val_count", "scored_count", 2),
    Edit("val_tokens", "scored", 2),
    Edit(ENDED, '        if dist.get_backend() == "gloo":\n            sys.exit(code)\n'),
    Edit("        os._exit(1)\n", "        sys.exit(1)\n"),
    Edit(HEADER, ""),
)


def edited(text: str, edits: tuple[Edit, ...]) -> str:
    """Return `text` with each edit. Raises `ValueError` if an old text does not occur as often as it must."""
    for edit in edits:
        if (count := text.count(edit.old)) != edit.times:
            raise ValueError(f"the trainer has {count} times, not {edit.times}: {edit.old!r}")
        text = text.replace(edit.old, edit.new)
    return text


def staged_trainer(untimed_steps: int) -> str:
    """Return the reference trainer's text, printing its stages; its clock starts anew after these steps."""
    untimed = Edit("UNTIMED_STEPS = 10\n", f"UNTIMED_STEPS = {untimed_steps}\n")
    return edited(REFERENCE.read_text(), (*STAGED, *AUDITED, untimed))


def staged_submission(folder: Path, task: str, steps: int) -> Path:
    """Write the trainer with the entry, the batch and the intervals of a task's start record."""
    place = facts_root() / "records"
    record = records.load(place, task)
    if is_smoke(task):
        arguments = [*load_smoke(place).guest.args, "--val-every", str(record.cadence.validation_every)]
    else:
        arguments = ["--batch-tokens", str(record.tokens_per_step)]
        arguments += ["--val-every", str(record.cadence.validation_every)]
    arguments += ["--steps", str(steps)]
    script = staged_trainer(record.untimed_steps).encode()
    return submission(folder, script, arguments, record.script.entry)


def stages_of(folder: Path) -> dict[str, float]:
    """Return the stages in a run's log, and its first step, in seconds since the guest's start."""
    found: dict[str, float] = {}
    if not (folder / "stamps").is_file():
        return found
    for seconds, line in Kitted(0, 0.0, folder).lines():
        if line.startswith(MARK):
            found.setdefault(line.removeprefix(MARK), seconds)
        elif line.startswith("step:0/"):
            found.setdefault("validation of step 0", seconds)
        elif line.startswith("step:1/"):
            found.setdefault("line of step 1", seconds)
    return found


def show_stages(runs: Mapping[str, Path]) -> None:
    """Print a table of the stages of several runs, by the host's clock; nothing if there are none."""
    read = {name: stages_of(folder) for name, folder in runs.items()}
    stages = list(dict.fromkeys(stage for found in read.values() for stage in found))
    if not stages:
        return
    row("stage, with seconds since the guest's start and since the stage before", *read)
    row(*["---"] * (1 + len(read)))
    before = dict.fromkeys(read, 0.0)
    for stage in stages:
        cells = []
        for name, found in read.items():
            at = found.get(stage)
            cells.append("-" if at is None else f"{at:.2f} (+{at - before[name]:.2f})")
            before[name] = before[name] if at is None else at
        row(stage, *cells)


def main() -> None:
    """Write the submission, or print the table."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = p.add_mutually_exclusive_group(required=True)
    what.add_argument("folder", type=Path, nargs="?")
    what.add_argument("--show", type=Path, nargs="+", metavar="RUN", help="Folders of runs.")
    p.add_argument("--task", default="62")
    p.add_argument("--steps", type=int, default=60)
    a = p.parse_args()
    if a.show:
        show_stages({folder.name: folder for folder in a.show})
        return
    print(staged_submission(a.folder, a.task, a.steps))


if __name__ == "__main__":
    main()
