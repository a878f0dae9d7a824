"""The kit's own wheel, and what it needs, from pip's index or from what is installed."""

from __future__ import annotations

import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from installer import install
from installer.destinations import SchemeDictionaryDestination
from installer.sources import WheelFile

from kit.capsule import wheels
from kit.capsule.wheels import kit_wheels, repack_installed
from kit.core.errors import PrerequisiteError
from kit.image.lock import Wheel
from kit.image.wheel import read_wheel


@pytest.fixture
def installed(kitchen, tmp_path, monkeypatch):
    """Install a small project as pip would, and let this Python find it."""
    made = kitchen.wheel(
        {"small/__init__.py": b"x = 1\n", "small/data.bin": bytes(range(256))},
        project="small", version="2.0", entry_points="[console_scripts]\nsmall = small:main\n",
    )  # fmt: skip
    site = tmp_path / "site"
    places = {name: str(site) for name in ("purelib", "platlib", "headers", "data")}
    scheme = {**places, "scripts": str(tmp_path / "bin")}
    with WheelFile.open(kitchen.folder / made.name) as source:
        install(
            source=source,
            destination=SchemeDictionaryDestination(
                scheme, sys.executable, "posix", bytecode_optimization_levels=(0,)
            ),
            additional_metadata={"INSTALLER": b"a test\n"},
        )
    monkeypatch.syspath_prepend(str(site))
    return site, kitchen.folder / made.name


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_an_installed_project_becomes_the_wheel_that_it_came_from(installed, tmp_path):
    _, source = installed
    out = tmp_path / "out"
    out.mkdir()
    wheel = repack_installed("small", out)
    assert wheel.name == "small-2.0-py3-none-any.whl"
    made, before = contents(wheel), contents(source)
    record = "small-2.0.dist-info/RECORD"
    assert {n: d for n, d in made.items() if n != record} == {n: d for n, d in before.items() if n != record}
    assert sorted(made[record].splitlines()) == sorted(before[record].splitlines())
    assert read_wheel(
        Wheel(wheel.name, 0, "", "small", "2.0"), wheel, "3.11"
    )  # it is one by the kit's own rules


def test_the_same_files_make_the_same_wheel(installed, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, second = (repack_installed("small", tmp_path / name) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_a_file_that_was_changed_after_installing_is_not_packed(installed, tmp_path):
    site, _ = installed
    (site / "small" / "__init__.py").write_bytes(b"x = 2\n")
    with pytest.raises(PrerequisiteError, match=r"small/__init__\.py of small was changed"):
        repack_installed("small", tmp_path)
    (site / "small" / "__init__.py").unlink()
    with pytest.raises(PrerequisiteError, match=r"cannot read small/__init__\.py"):
        repack_installed("small", tmp_path)


def test_a_project_that_is_not_installed_is_named(tmp_path):
    with pytest.raises(PrerequisiteError, match="no-such-project is not installed"):
        repack_installed("no-such-project", tmp_path)


def test_a_project_that_is_only_linked_is_no_wheel(tmp_path, monkeypatch):
    info = tmp_path / "linked-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: linked\nVersion: 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PrerequisiteError, match="not installed from a wheel"):
        repack_installed("linked", tmp_path)


def test_pip_is_asked_for_the_installed_versions_and_nothing_but_wheels(monkeypatch, tmp_path):
    asked = []

    def pip(command, *arguments):
        asked.append((command, arguments))
        if command == "wheel":
            (Path(arguments[2]) / "speedrun_kit-0-py3-none-any.whl").write_bytes(b"own")
        else:
            folder = Path(arguments[arguments.index("--dest") + 1])
            folder.mkdir()
            (folder / "click-8.2.0-py3-none-any.whl").write_bytes(b"x")
            (folder / "speedrun_kit-0-py3-none-any.whl").write_bytes(b"own")
            asked.append(Path(arguments[arguments.index("--constraint") + 1]).read_text())

    monkeypatch.setattr(wheels, "_pip", pip)
    with kit_wheels() as made:
        assert [w.name for w in made] == ["click-8.2.0-py3-none-any.whl", "speedrun_kit-0-py3-none-any.whl"]
    assert not made[0].exists()
    (built, _), (command, arguments), pins = asked
    assert built == "wheel" and command == "download" and arguments[:2] == ("--only-binary", ":all:")
    assert "speedrun-kit @ file:" in arguments[-1].replace("[docker,gpu]", "").replace("[docker]", "")
    assert f"click=={version('click')}\n" in pins and "speedrun-kit==" not in pins


def test_what_pip_cannot_bring_is_said_in_its_words(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(fake_python(tmp_path)))
    with pytest.raises(PrerequisiteError, match="pip wheel failed: no matching distribution"):
        wheels.build_wheel(tmp_path, tmp_path)


def fake_python(folder: Path) -> Path:
    path = folder / "python"
    path.write_text("#!/bin/sh\necho 'ERROR: no matching distribution' >&2\nexit 1\n")
    path.chmod(0o755)
    return path


def test_without_pip_the_way_out_is_named(monkeypatch):
    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PrerequisiteError, match="pip is not installed in this Python") as e, kit_wheels():
        pass
    assert "ensurepip" in e.value.hint
