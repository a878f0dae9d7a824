"""A fast part of the hostile suite, for real, in one container runtime; all of it: `make hostile`."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import suite
from conftest import PATIENT

pytestmark = [pytest.mark.container, pytest.mark.network]
RUNTIME = os.environ.get("KIT_HOSTILE_RUNTIME", "runc")


@pytest.mark.parametrize("attack", [a for a in suite.load() if a.fast], ids=lambda a: a.name)
def test_each_attack_has_its_stated_outcome(cpu_image, attack, tmp_path):
    attack = replace(attack, flags=[*PATIENT, *attack.flags])
    found = suite.run(attack, tmp_path, RUNTIME)
    assert suite.objections(attack, found, RUNTIME) == [], found
