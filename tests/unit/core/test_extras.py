"""The command that installs an extra works from where the user stands; no package index has this kit."""

import importlib.metadata
import os
import re
import shutil
import sys

import pytest

from kit.core.extras import install_command, pip_install, reinstall_command, system_install
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


def test_the_running_interpreter_is_named_and_quoted(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", "/opt/a b/bin/python")
    assert pip_install("uv<1") == "'/opt/a b/bin/python' -m pip install 'uv<1'"


def test_the_kit_is_installed_again_from_where_it_is(monkeypatch, tmp_path):
    monkeypatch.chdir(PACKAGE.parent)
    assert reinstall_command().endswith(" -m pip install -e .")
    from_wheel = reinstall_command(tmp_path)
    assert "make" not in from_wheel and " -m pip install --force-reinstall WHEEL, with " in from_wheel


@pytest.mark.parametrize(
    ("present", "uid", "install", "upgrade"),
    [
        (
            ["apt-get"],
            0,
            "apt-get install -y --no-install-recommends runc",
            "apt-get install --only-upgrade runc",
        ),
        (["dnf"], 1000, "as root: dnf install -y runc", "as root: dnf upgrade runc"),
        (["pacman", "apk"], 0, "pacman -S runc", "pacman -S runc"),
        (
            [],
            0,
            "install runc with this system's package manager",
            "upgrade runc with this system's package manager",
        ),
    ],
)
def test_a_package_of_the_system_is_installed_with_the_manager_that_is_there(
    monkeypatch, present, uid, install, upgrade
):
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name in present else None)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert system_install("runc") == install
    assert system_install("runc", upgrade=True) == upgrade


def test_no_other_module_writes_such_a_command_itself():
    own = {"kit/core/extras.py"}
    advice = re.compile(r"""(["']|: |; )(pip install|apt-get install|make setup)""")
    found = [
        f"{path.relative_to(PACKAGE.parent)}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE.parent).as_posix() not in own
        for line in path.read_text().splitlines()
        if advice.search(line)
    ]
    assert found == [], found
