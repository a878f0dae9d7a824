"""Below an open directory no link is followed, whatever takes the place of a part of a name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kit.core.open_folder import OpenFolder, made_below, open_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    (made / "a").mkdir(parents=True)
    (made / "a" / "x.txt").write_text("own")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.txt").write_text("secret")
    return made


def exchange(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))
    folder.symlink_to(folder.parent / "elsewhere" if folder.name == "folder" else "../../elsewhere")


def text(folder: OpenFolder, name: str) -> str:
    with os.fdopen(folder.open(name)) as f:
        return f.read()


def test_an_open_directory_stays_the_one_that_was_opened(folder: Path) -> None:
    with open_folder(folder) as opened:
        exchange(folder)
        assert text(opened, "a/x.txt") == "own" and opened.is_file("a/x.txt")
        with opened.entries() as entries:
            assert [entry.name for entry in entries] == ["a"]
    with open_folder(folder) as followed:
        assert text(followed, "x.txt") == "secret"
    with pytest.raises(OSError), open_folder(folder, follow=False):
        pass


def test_a_link_in_any_part_of_a_name_is_refused(folder: Path) -> None:
    (folder / "link.txt").symlink_to("../elsewhere/x.txt")
    with open_folder(folder) as opened:
        exchange(folder / "a")
        for name in ("a/x.txt", "link.txt", "../elsewhere/x.txt", "moved/../../elsewhere/x.txt"):
            with pytest.raises(OSError):
                opened.open(name)
            assert not opened.is_file(name)
        with pytest.raises(OSError), opened.entries("a"):
            pass


def test_what_is_written_below_a_made_directory_stays_in_it(folder: Path, tmp_path: Path) -> None:
    with made_below(folder, "a/b") as own:
        (own / "1.txt").write_text("one")
        exchange(folder / "a")
        (own / "2.txt").write_text("two")
    assert sorted(p.name for p in (folder / "moved" / "b").iterdir()) == ["1.txt", "2.txt"]
    with pytest.raises(OSError), made_below(folder, "a/b"):
        pass
    assert [p.name for p in (tmp_path / "elsewhere").iterdir()] == ["x.txt"]
