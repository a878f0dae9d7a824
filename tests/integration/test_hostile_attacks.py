"""A fast part of the hostile suite, for real, in one container runtime; all of it: `make hostile`."""

from __future__ import annotations

import os

import pytest
import suite

pytestmark = [pytest.mark.container, pytest.mark.network]
RUNTIME = os.environ.get("KIT_HOSTILE_RUNTIME", "runc")


@pytest.mark.parametrize("attack", [a for a in suite.load() if a.fast], ids=lambda a: a.name)
def test_what_comes_of_the_attack_is_what_it_says(cpu_image, attack, tmp_path):
    found = suite.run(attack, tmp_path, RUNTIME)
    assert suite.objections(attack, found, RUNTIME) == [], found
