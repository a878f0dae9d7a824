"""A session's guests take the turn of the GPUs that they run on."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fake_gpus import fake_gpu, fake_inventory, fake_sources

from kit.agent.ledger import Interrupted
from kit.cli.places import places as places_of
from kit.evaluate.request import Places, Request
from kit.gpu.nvml import VisibleGpus
from kit.sandbox.turn import NO_GPU, is_taken, take_turn, turn_folder
from kit.session.turn import MachineTurn
from kit.values.profile import Profile
from kit.values.run_spec import RuntimeName


@pytest.fixture
def places(tmp_path: Path) -> Places:
    made = places_of(tmp_path / "store", None, tmp_path / "keys")
    assert made.turns == turn_folder(), "commands wait for each other"
    return replace(made, turns=None, gpus=fake_sources(fake_inventory()))


def turn_of(record: int | str, profile: Profile, places: Places, folder: Path) -> MachineTurn:
    folder.parent.mkdir(exist_ok=True)
    python = Path(sys.executable)
    return MachineTurn(Request(record, profile, runtime=RuntimeName.HOST, python=python), places, folder)


@pytest.mark.parametrize(
    ("record", "profile", "resources"),
    [(21, Profile.FULL, [fake_gpu(i).uuid for i in range(8)]), ("smoke-1", Profile.SMOKE, [NO_GPU])],
)
def test_a_guest_waits_for_other_runs_on_its_gpus_alone(
    tmp_path: Path, places: Places, record: int | str, profile: Profile, resources: list[str]
) -> None:
    folder = tmp_path / "state" / "turns"
    turn = turn_of(record, profile, places, folder)
    with turn(lambda: False):
        assert all(is_taken(folder, [name]) for name in resources)
        assert not is_taken(folder, {NO_GPU, fake_gpu(0).uuid} - set(resources))
    assert not is_taken(folder, resources)
    with take_turn(folder, resources[-1:], lambda: False), pytest.raises(Interrupted), turn(lambda: True):
        pass


def test_launchers_of_four_gpus_share_a_machine_of_eight_only_if_each_has_its_own(
    tmp_path: Path, places: Places
) -> None:
    """A run takes the first GPUs that it is shown, busy or not: times of other GPUs are not comparable."""
    folder = tmp_path / "state" / "turns"

    def launcher(shown: str | None) -> MachineTurn:
        sources = fake_sources(fake_inventory())
        if shown is not None:
            sources = replace(sources, nvml=VisibleGpus(sources.nvml, shown))
        turn = turn_of(5, Profile.FULL, replace(places, gpus=sources), folder)
        return replace(turn, request=replace(turn.request, gpus=4))

    first = [fake_gpu(i).uuid for i in range(4)]
    with launcher(None)(lambda: False):
        assert all(is_taken(folder, [name]) for name in first)
        with pytest.raises(Interrupted), launcher(None)(lambda: True):
            pass
        with launcher("4,5,6,7")(lambda: True):
            assert all(is_taken(folder, [fake_gpu(i).uuid]) for i in range(8))
