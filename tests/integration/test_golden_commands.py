"""Commands that start guests or need the `cpu` image answer with the keys that they had before."""

from __future__ import annotations

import shutil

import pytest
from golden_replay import GOLDEN, Recorded, ask, recorded

pytestmark = [pytest.mark.container, pytest.mark.network]


@pytest.fixture(scope="module")
def here(tmp_path_factory, cpu_image):
    """A copy of the assets to work in."""
    folder = tmp_path_factory.mktemp("golden") / "copy"
    shutil.copytree(GOLDEN, folder)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("command", recorded("container"), ids=str)
def test_a_command_answers_with_the_keys_that_it_had(here, command: Recorded):
    ask(here, command, timeout=600)
