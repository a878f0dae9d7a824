"""The command that installs an extra works from where the user stands; no package index has this kit."""

import importlib.metadata
import sys

import pytest

from kit.core.extras import install_command
from kit.core.facts import PACKAGE


def test_in_a_checkout_it_is_installed_from_there(monkeypatch):
    monkeypatch.chdir(PACKAGE.parent)
    monkeypatch.setattr(sys, "executable", f"{PACKAGE.parent}/.venv/bin/python")
    assert install_command("docker") == ".venv/bin/python -m pip install -e '.[docker]'"


def test_elsewhere_the_checkout_is_named(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert install_command("docker").endswith(f" -m pip install -e '{PACKAGE.parent}[docker]'")


@pytest.mark.parametrize("quote", ["'", '"'])
def test_from_a_wheel_its_requirements_are_installed(monkeypatch, tmp_path, quote):
    lines = [
        "click<9,>=8.2",
        f"numpy<3,>=2; extra == {quote}score{quote}",
        f"scipy<2,>=1.15 ; extra=={quote}score{quote}",
        f"docker==7.2.0; extra == {quote}docker{quote}",
    ]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: lines)
    assert install_command("score", tmp_path).endswith(" -m pip install 'numpy<3,>=2' 'scipy<2,>=1.15'")
    assert install_command("docker", tmp_path).endswith(" -m pip install docker==7.2.0")
