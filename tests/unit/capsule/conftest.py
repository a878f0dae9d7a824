"""An honest capsule on the tiny era's image, and places to make others with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from kit.benchmark.records import load
from kit.capsule.pack import pack
from kit.capsule.receive import OwnFacts
from kit.core.facts import facts_root
from kit.core.store import FolderFetcher, Store
from kit.evaluate.request import Places
from kit.image.build import Layout, accept
from kit.result.keys import PublicKey, Trusted, load_or_create
from kit.result.predicate import Image, Manifest
from kit.values.software import Kit

ASSETS = Path(__file__).parents[2] / "assets" / "bundles"
RECORDS = facts_root() / "records"
KIT = Kit("0", None)


@dataclass(frozen=True)
class Workshop:
    """A store with the tiny image, a packer's key, and the run that gets packed."""

    base: Path
    places: Places
    layout: Layout
    signer: PublicKey
    press: Callable[..., Path]
    """Press a run in the tiny image below a folder; further arguments are fields of the predicate."""

    @property
    def packer(self) -> PublicKey:
        return load_or_create(self.places.keys).public

    @property
    def trusted(self) -> Trusted:
        """The keys of a reader who trusts signer and packer."""
        return Trusted((self.signer, self.packer))

    @property
    def own(self) -> OwnFacts:
        """The facts of a kit that does not know the tiny era."""
        return OwnFacts(RECORDS, facts_root() / "images", KIT)

    def pack(self, file: Path, run: Path | None = None, keys: Path | None = None, **options: Any) -> Path:
        """Pack a run, with other keys if a folder of them is given."""
        made = run or self.press(self.base / f"run-{file.name}")
        places = replace(self.places, keys=keys or self.places.keys)
        return pack(made, file, self.trusted, places, **options).file


@pytest.fixture(scope="module")
def workshop(cook, press, tmp_path_factory) -> Workshop:
    base = tmp_path_factory.mktemp("workshop")
    era = cook.era(base)
    store = Store(base / "store")
    layout = accept("tiny", era.images, store, [FolderFetcher(era.mirror)])
    places = Places(RECORDS, era.images, store, base / "out", base / "keys", fetchers=(), kit=KIT)
    plain = press.MAKE.predicate(ASSETS)
    image = Image(layout.config_digest, layout.manifest_digest)
    record = Manifest("records/03.toml", load(RECORDS, 3).manifest_sha256)

    def pressed(where: Path, image: Image | None = image, **extra: Any) -> Path:
        parts = {
            "environment": replace(plain.environment, era="tiny", image=image),
            "inputs": replace(plain.inputs, record_manifest=record),
            **extra,
        }
        sample = press.Sample(1, script=press.MAKE.SCRIPT, extra=tuple(parts.items()))
        return press.press(where, sample)

    return Workshop(base, places, layout, press.MAKE.SIGNER.public, pressed)


@pytest.fixture(scope="module")
def honest(workshop: Workshop) -> Path:
    """The archive of an honest capsule."""
    return workshop.pack(workshop.base / "honest.tar")


@pytest.fixture(scope="module")
def strangers(workshop: Workshop) -> Path:
    """The archive of an honest capsule whose packer is unknown to the reader."""
    return workshop.pack(workshop.base / "strangers.tar", keys=workshop.base / "stranger")


@pytest.fixture(scope="module")
def wheels(workshop: Workshop, cook: Any) -> tuple[Path, ...]:
    """A wheelhouse with a kit of one module and something that it needs."""
    folder = workshop.base / "wheels"
    folder.mkdir()
    kitchen = cook.Kitchen(folder)
    made = (
        kitchen.wheel({"kit_of_a_test.py": b"x = 1\n"}, project="speedrun-kit", version="0"),
        kitchen.wheel({"needed.py": b"y = 2\n"}, project="needed", version="1.5"),
    )
    return tuple(sorted(folder / wheel.name for wheel in made))
