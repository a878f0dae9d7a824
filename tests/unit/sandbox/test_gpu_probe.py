"""The isolation probe lets in exactly as many GPUs as the run was given, and no other device."""

from __future__ import annotations

import os
import sys

import pytest
from python_file import load_file

from kit.sandbox.isolation_probe import FIRST_CHECKS

USUAL = ["null", "zero", "full", "random", "urandom", "tty", "pts", "shm", "fd", "stdin", "stdout", "stderr"]
CONTROL = ["nvidiactl", "nvidia-uvm", "nvidia-uvm-tools"]


@pytest.fixture
def devices(monkeypatch):
    """Ask the guest's own check about a /dev that the test makes up."""
    module = load_file("guest_isolation", FIRST_CHECKS)

    def ask(names, given):
        monkeypatch.setattr(sys, "argv", ["isolation.py", str(given)])
        monkeypatch.setattr(os, "listdir", lambda _: list(names))
        return module.devices()[0]

    return ask


def test_a_guest_without_gpus_sees_none(devices):
    assert devices(USUAL, 0)
    assert not devices([*USUAL, *CONTROL], 0)
    assert not devices([*USUAL, *CONTROL, "nvidia0"], 0)


def test_a_guest_sees_as_many_gpus_as_it_was_given(devices):
    eight = [f"nvidia{n}" for n in range(8)]
    assert devices([*USUAL, *CONTROL, *eight], 8)
    assert not devices([*USUAL, *CONTROL, *eight], 4)
    assert not devices([*USUAL, *CONTROL, *eight[:7]], 8)


@pytest.mark.parametrize(
    "other", ["nvidia-caps", "nvidia-nvswitch0", "dri", "infiniband", "sda", "kvm", "fuse", "mem"]
)
def test_no_other_device_comes_with_the_gpus(devices, other):
    assert not devices([*USUAL, *CONTROL, "nvidia0", other], 1)
