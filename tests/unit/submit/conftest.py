"""A repository of submissions, filled with runs of the press."""

import importlib.util
import sys
from pathlib import Path

import pytest

from kit.bundle.keys import Trusted
from kit.bundle.verify import open_bundle
from kit.submit.entry import Entry, lay_out

ASSETS = Path(__file__).parents[2] / "assets" / "bundles"


def _load():
    spec = importlib.util.spec_from_file_location("bundle_press", ASSETS / "press.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def press():
    """The module that prints run folders."""
    return _load()


@pytest.fixture(scope="session")
def trusted(press):
    """Trust in the TEST-ONLY signer alone."""
    return Trusted((press.MAKE.SIGNER.public,))


@pytest.fixture
def submit(tmp_path, press, trusted):
    """Print a run and lay it out in the repository `root`; returns its folder there."""
    root = tmp_path / "board"
    root.mkdir()

    def run(number, agent="an-agent", signer=None, entry=None, **fields):
        signer = signer or press.MAKE.SIGNER
        made = press.press(tmp_path / "runs", press.Sample(number, **fields), signer)
        files = lay_out(open_bundle(made, trusted), entry or Entry(agent), root)
        return (root / files[0]).parent

    run.root = root
    return run
