"""`speedrun image`: exit codes, and what goes to which stream."""

from __future__ import annotations

import json

import pytest
from system_errors import failing

from kit.cli import run
from kit.cli.image import SUMMARIES
from kit.core.digest import sha256_file
from kit.image.digest import digest_path


@pytest.fixture
def speedrun(tiny, tmp_path, monkeypatch, capsys):
    for name in SUMMARIES:
        monkeypatch.setattr(f"kit.cli.image.{name}.facts_root", lambda: tmp_path)

    def call(*arguments, mirror=True):
        where = ["--store", str(tmp_path / "store")]
        where += ["--mirror", str(tiny.mirror)] if mirror and arguments[0] != "list" else []
        monkeypatch.setattr("kit.image.fetch.PipFetcher.fetch", _absent)
        monkeypatch.setattr("kit.image.fetch.PoolFetcher.fetch", _absent)
        monkeypatch.setattr("kit.image.fetch.AptFetcher.fetch", _absent)
        monkeypatch.setattr("kit.image.fetch.SnapshotFetcher.fetch", _absent)
        code = run(["image", *arguments, *where])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def _absent(self, artifact, sink, offset, progress):
    from kit.core.errors import PrerequisiteError

    raise PrerequisiteError("no network in this test")


def test_build_accept_verify_and_list_say_yes(speedrun):
    assert speedrun("build", "tiny", "--accept")[0] == 0
    code, out, err = speedrun("verify", "tiny", "--json")
    assert code == 0 and "match the committed digests" in err
    report = json.loads(out)
    assert report["same"] is True and report["promised"] == report["found"]
    code, out, _ = speedrun("list", "--json")
    assert code == 0
    assert json.loads(out)["eras"][0]["built"] is True
    assert speedrun("lock", "tiny", "--check")[0] == 0
    assert "tiny" in speedrun("list")[1]


def test_fetch_says_how_much_was_new(speedrun):
    first = json.loads(speedrun("fetch", "tiny", "--json")[1])
    assert first["fetched_bytes"] == first["bytes"] > 0
    assert json.loads(speedrun("fetch", "tiny", "--json")[1])["fetched_bytes"] == 0


def test_an_unknown_era_is_2_and_lists_the_known(speedrun):
    code, out, err = speedrun("build", "torch-1.0")
    assert (code, out) == (2, "")
    assert "the known eras are: tiny" in err


def test_files_that_no_source_has_are_3(speedrun):
    code, _, err = speedrun("fetch", "tiny", mirror=False)
    assert code == 3
    assert "--mirror DIR" in err and "pool/main/h/hello" in err


def test_a_stale_lock_is_4_and_names_the_command(speedrun, tiny):
    path = tiny.images / "tiny" / "image.toml"
    path.write_text(path.read_text() + "\n# changed\n")
    code, _, err = speedrun("build", "tiny")
    assert code == 4
    assert "image.toml" in err and "lock.json" in err and "hint: speedrun image lock tiny" in err


def test_a_result_that_differs_is_4_with_a_report(speedrun, tiny):
    speedrun("build", "tiny", "--accept")
    path = digest_path(tiny.spec)
    config = next(line for line in path.read_text().splitlines() if line.startswith("config"))
    path.write_text(path.read_text().replace(config, f"config    sha256:{'e' * 64}"))
    code, out, err = speedrun("verify", "tiny", "--json")
    assert code == 4
    assert "config: expected eeee" in err and "layer" not in err
    assert json.loads(out)["same"] is False


def test_an_archive_is_exported_whole_and_always_the_same(speedrun, tmp_path):
    speedrun("build", "tiny", "--accept")
    code, out, _ = speedrun("export", "tiny", "--out", str(tmp_path / "tiny.tar"))
    assert code == 0
    assert out.split() == [sha256_file(tmp_path / "tiny.tar"), str(tmp_path / "tiny.tar")]
    _, again, _ = speedrun("export", "tiny", "--out", str(tmp_path / "again.tar"))
    assert again.split()[0] == out.split()[0]
    assert sorted(p.name for p in tmp_path.glob("*.tar*")) == ["again.tar", "tiny.tar"]


def test_an_export_replaces_no_device_and_makes_no_folder(speedrun, tmp_path):
    speedrun("build", "tiny", "--accept")
    assert speedrun("export", "tiny", "--out", "/dev/null")[0] == 3
    assert speedrun("export", "tiny", "--out", str(tmp_path / "no" / "tiny.tar"))[0] == 3
    assert speedrun("export", "tiny", "--out", "/proc/tiny.tar")[0] == 3
    assert not (tmp_path / "no").exists()


def test_loading_without_an_engine_is_3_and_says_what_to_start(speedrun, tmp_path, monkeypatch):
    speedrun("build", "tiny", "--accept")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    code, _, err = speedrun("load", "tiny")
    assert code == 3
    assert f"no engine answers at unix://{tmp_path}/no.sock" in err and "DOCKER_HOST" in err


def test_a_full_disk_is_5_and_names_the_fix(speedrun, tiny, monkeypatch):
    import errno

    speedrun("build", "tiny", "--accept")

    monkeypatch.setattr("kit.image.layer.write_tar", failing(errno.ENOSPC))
    code, _, err = speedrun("verify", "tiny")
    assert code == 5
    assert "no space left on the disk of" in err and "--store" in err


def test_an_image_and_itself_are_the_same_and_cost_their_layers(speedrun, tmp_path):
    speedrun("build", "tiny", "--accept")
    code, out, _ = speedrun("diff", "tiny", "tiny", mirror=False)
    assert code == 0 and out.startswith("the same image: manifest sha256:")
    code, out, _ = speedrun("disk", mirror=False)
    assert code == 0 and out.startswith("1 image, ")
    assert json.loads(speedrun("disk", "--json", mirror=False)[1])["eras"] == ["tiny"]


def test_a_layout_of_other_bytes_is_1_and_the_entry_is_named(speedrun, tiny, tmp_path, monkeypatch):
    speedrun("build", "tiny", "--accept")
    monkeypatch.setattr("kit.image.base._HOSTS", "127.0.0.1 elsewhere\n")
    from kit.core.store import Store
    from kit.image.assemble import assemble

    assemble("tiny", tiny.images, Store(tmp_path / "store"), tmp_path / "other")
    code, out, _ = speedrun("diff", "tiny", str(tmp_path / "other"), mirror=False)
    assert code == 1
    assert "files of layer base: 1 changed, 0 only in tiny" in out and "etc/hosts: size" in out
    code, out, _ = speedrun("diff", "tiny", str(tmp_path / "other"), "--json", mirror=False)
    [entry] = json.loads(out)["entries"]
    assert code == 1 and entry["name"] == "etc/hosts" and entry["layer"] == "base"


def test_a_verification_that_fails_names_the_entry(speedrun, monkeypatch):
    speedrun("build", "tiny", "--accept")
    monkeypatch.setattr("kit.image.base._HOSTS", "127.0.0.1 elsewhere\n")
    code, _, err = speedrun("verify", "tiny")
    assert code == 4
    assert "layer 0 (base): expected" in err and "etc/hosts: size" in err


def test_a_comparison_with_nothing_is_2_and_lists_the_eras(speedrun):
    speedrun("build", "tiny", "--accept")
    code, _, err = speedrun("diff", "tiny", "torch-1.0", mirror=False)
    assert code == 2 and "the known eras are: tiny" in err
