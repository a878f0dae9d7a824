"""A rerun of a capsule rests on the result and on this kit, and on nothing that the packer says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kit.capsule.receive import receive
from kit.core.codec import pairs
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.reproduce import NotComparable, from_capsule
from kit.values.fidelity import Fidelity

ASSETS = Path(__file__).parents[2] / "assets" / "bundles"


@pytest.fixture
def brought(workshop, tmp_path):
    """Receive a capsule and bring it into an empty store, with the eras of `images`."""

    def run(file, images):
        places = replace(workshop.places, images=images, store=Store(tmp_path / "store"))
        capsule = receive(file, tmp_path / "new", workshop.trusted, workshop.own).capsule
        return from_capsule(capsule, places), capsule

    return run


def test_a_kit_that_has_the_era_uses_its_own_files_about_it(brought, workshop, honest):
    first, _ = brought(honest, workshop.places.images)
    assert first.own_image and first.places.images == workshop.places.images


def test_a_packers_claim_about_fidelity_does_not_get_into_another_result(brought, honest):
    """The rerun's signer would sign what image.toml says, which nothing binds."""
    with pytest.raises(NotComparable, match=r"image\.toml in the capsule states a different fidelity"):
        brought(honest, facts_root() / "images")


def test_an_era_that_this_kit_does_not_have_comes_out_of_the_capsule(brought, workshop, press, tmp_path):
    plain = press.MAKE.predicate(ASSETS).environment
    image = workshop.layout
    environment = replace(
        plain, era="tiny", fidelity=pairs({"torch": Fidelity.UNKNOWN}),
        image=replace(plain.image, config_digest=image.config_digest, manifest_digest=image.manifest_digest),
    )  # fmt: skip
    run = workshop.press(tmp_path / "run", environment=environment)
    first, capsule = brought(workshop.pack(tmp_path / "x.tar", run), facts_root() / "images")
    assert not first.own_image and first.places.images == capsule.images
