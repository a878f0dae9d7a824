"""A repository of submissions, filled with runs of the press."""

import pytest

from kit.leaderboard.submit.entry import BoardEntry, write_submission
from kit.result.keys import Trusted
from kit.result.verify import open_bundle


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
        files = write_submission(open_bundle(made, trusted), entry or BoardEntry(agent), root)
        return (root / files[0]).parent

    run.root = root
    return run
