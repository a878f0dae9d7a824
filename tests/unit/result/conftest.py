"""The sample run and its bundles, from the script that writes the assets."""

import shutil
from pathlib import Path

import pytest

from kit.result.keys import Trusted

ASSETS = Path(__file__).parents[2] / "assets" / "bundles"


@pytest.fixture(scope="session")
def assets():
    """The folder of the committed assets."""
    return ASSETS


@pytest.fixture
def run_folder(tmp_path, make):
    """A run's folder with its files and a good bundle."""
    folder = tmp_path / "run"
    folder.mkdir()
    make.write_run(folder)
    (folder / "result.json").write_bytes((ASSETS / "good.json").read_bytes())
    return folder


@pytest.fixture
def put(run_folder):
    """Replace the bundle of the run's folder and return its path."""

    def replace_bundle(data):
        path = run_folder / "result.json"
        path.write_bytes(data)
        return path

    return replace_bundle


@pytest.fixture(scope="session")
def trusted(make):
    """Trust in the TEST-ONLY signer alone."""
    return Trusted((make.SIGNER.public,))


@pytest.fixture
def good(assets):
    """The good bundle's bytes."""
    return (assets / "good.json").read_bytes()


@pytest.fixture
def copy_assets(tmp_path):
    """A copy of the folder of assets that a test may change."""
    return Path(shutil.copytree(ASSETS, tmp_path / "assets"))
