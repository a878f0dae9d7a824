"""
Make the smoke profile's data: shards that must match the digests in `records/smoke.toml`.

The shards are drawn from a language of `kit.data.markov`, so the kit knows the probability of every token.
The mean -log p of the scored validation window is the floor: an honest loss is not below it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

from kit.core.digest import Sha256, sha256_file, tree_digest
from kit.core.errors import DigestMismatch, SchemaError
from kit.core.schema import read_toml
from kit.core.store import Progress, Store, no_progress
from kit.core.text import in_shell
from kit.data.markov import Language, LanguageSpec
from kit.data.shard import read_tokens, write_shard
from kit.values.deadlines import Deadlines

ROOM = "smoke"
PLACES = Decimal("0.000001")
"""Precision of pinned floors, rounded half to even."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file as the guest sees it, below `data/fineweb10B/`."""

    name: str
    size: int
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class ShardPin:
    """A shard: its file, and the stream that its tokens are drawn from."""

    file: DataFile
    stream: str
    tokens: int


@dataclass(frozen=True, slots=True)
class SmokeGuest:
    """Settings of every guest in the smoke profile; `args` is for the reference trainer alone."""

    args: tuple[str, ...]
    """Arguments of `train_reference.py`; other scripts do not get them."""
    env: tuple[tuple[str, str], ...]
    world_size: int
    untimed_steps: int
    vocabulary: int
    """Rows of the output layer: the loss at step 0 is near ln(vocabulary)."""
    memory: int
    """Bytes that the whole guest may use."""


@dataclass(frozen=True, slots=True)
class SmokeSpec:
    """`records/smoke.toml`. Losses are nats per token."""

    language: LanguageSpec
    train: tuple[ShardPin, ...]
    val: ShardPin
    val_tokens: int
    """Scored tokens: positions 1..val_tokens of the validation shard, read from position 0."""
    floor: float
    entropy_rate: float
    target: float
    guest: SmokeGuest
    deadlines: Deadlines

    @property
    def shards(self) -> tuple[ShardPin, ...]:
        """Every shard, sorted by name."""
        return tuple(sorted((*self.train, self.val), key=lambda pin: pin.file.name))


@dataclass(frozen=True, slots=True)
class SmokeData:
    """The shards, ready to be mounted read-only."""

    folder: Path
    files: tuple[DataFile, ...]
    val_tokens: int
    floor: float
    target: float


def load_smoke(records: Path) -> SmokeSpec:
    """
    Read `smoke.toml` in the directory `records`.

    Does not check that the pins match the language: `ensure_smoke` checks the bytes, and a test derives floor
    and entropy rate again. Raises `PrerequisiteError` or `SchemaError`.
    """
    path = records / "smoke.toml"
    document = read_toml(path, "smoke.v1")
    guest, score = document["guest"], document["score"]
    spec = SmokeSpec(
        language=LanguageSpec(**document["language"]),
        train=tuple(_pin(entry) for entry in document["train"]),
        val=_pin(document["val"]),
        val_tokens=score["val_tokens"],
        floor=score["floor"],
        entropy_rate=score["entropy_rate"],
        target=score["target"],
        guest=SmokeGuest(
            args=tuple(guest["args"]),
            env=tuple(sorted(guest["env"].items())),
            world_size=guest["world_size"],
            untimed_steps=guest["untimed_steps"],
            vocabulary=guest["vocabulary"],
            memory=guest["memory"],
        ),
        deadlines=Deadlines(**{clock: float(s) for clock, s in document["deadlines"].items()}),
    )
    if not spec.floor < spec.target:
        raise SchemaError(f"{path}: target {spec.target} must be above the floor {spec.floor}")
    if spec.val_tokens >= spec.val.tokens:
        raise SchemaError(f"{path}: {spec.val_tokens} scored tokens do not fit into {spec.val.tokens} tokens")
    return spec


def _pin(entry: dict[str, Any]) -> ShardPin:
    file = DataFile(entry["name"], entry["size"], Sha256(entry["sha256"]))
    return ShardPin(file, entry["stream"], entry["tokens"])


def ensure_smoke(spec: SmokeSpec, store: Store, progress: Progress = no_progress) -> SmokeData:
    """
    Return the smoke data; make it on first use. Several processes may call it at once.

    The bytes are hashed on every call, so the mounted data match the pins. Raises `DigestMismatch` if the
    files or the newly made bytes differ, `RunError` if the disk is full.
    """
    files = tuple(pin.file for pin in spec.shards)
    key = tree_digest({file.name: file.sha256 for file in files})
    folder = store.room(ROOM) / key
    if not folder.is_dir():
        with store.lock(f"{ROOM}-{key}"):
            if not folder.is_dir():
                _make(spec, store, folder, progress)
    _check(folder, files, f"rm -r {in_shell(folder)}, then run the command again")
    return SmokeData(folder, files, spec.val_tokens, spec.floor, spec.target)


def _make(spec: SmokeSpec, store: Store, folder: Path, progress: Progress) -> None:
    total, done = sum(pin.file.size for pin in spec.shards), 0
    with store.staging(ROOM) as staged:
        for pin in write_smoke(spec, staged):
            done += pin.file.size
            progress("make smoke data", done, total)
        hint = "records/smoke.toml does not match its language; compare with: speedrun data synth --derive"
        _check(staged, tuple(pin.file for pin in spec.shards), hint)
        staged.rename(folder)


def write_smoke(spec: SmokeSpec, folder: Path) -> Iterator[ShardPin]:
    """Write the shards of `spec` into `folder`, yielding the pin of each. Digests are not checked."""
    language = Language(spec.language)
    for pin in spec.shards:
        write_shard(folder / pin.file.name, language.sample(pin.stream, pin.tokens))
        yield pin


def _check(folder: Path, files: tuple[DataFile, ...], hint: str) -> None:
    for file in files:
        path = folder / file.name
        actual = sha256_file(path) if path.is_file() else "none (file not found)"
        if actual != file.sha256:
            raise DigestMismatch(
                f"checksum mismatch: {path} has sha256 {actual}, expected {file.sha256}", hint
            )


@dataclass(frozen=True, slots=True)
class DerivedPins:
    """The correct pins of `records/smoke.toml`, derived from its language."""

    files: tuple[DataFile, ...]
    floor: Decimal
    entropy_rate: Decimal

    def differences(self, spec: SmokeSpec) -> tuple[str, ...]:
        """Return the names of the pins that differ from the derived ones, sorted."""
        pinned = {pin.file.name: pin.file for pin in spec.shards}
        wrong = [f.name for f in self.files if pinned[f.name] != f]
        wrong += ["floor"] if float(self.floor) != spec.floor else []
        wrong += ["entropy_rate"] if float(self.entropy_rate) != spec.entropy_rate else []
        return tuple(sorted(wrong))


def derive(spec: SmokeSpec, folder: Path) -> DerivedPins:
    """Make the shards in `folder` without using the pins, and return the correct pins."""
    names = [pin.file.name for pin in write_smoke(spec, folder)]
    files = tuple(DataFile(n, (folder / n).stat().st_size, sha256_file(folder / n)) for n in names)
    language = Language(spec.language)
    floor = language.mean_nats(read_tokens(folder / spec.val.file.name), spec.val_tokens)
    return DerivedPins(
        files, floor.quantize(PLACES, ROUND_HALF_EVEN), Decimal(str(round(language.entropy_rate(), 6)))
    )
