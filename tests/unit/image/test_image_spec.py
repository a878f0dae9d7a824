"""What image.toml may say."""

from __future__ import annotations

import datetime

import pytest

from kit.core.errors import SchemaError, UsageError
from kit.image.spec import WheelMember, eras, read_spec
from kit.values.fidelity import Fidelity

EXTRACT = """\
[[wheels.extract]]
wheel = "big"
member = "big/weights.bin"
path = "usr/local/lib/weights.bin"
[debian]"""
FILE = """\
[[files]]
url = "https://example.org/encodings/vocab.bpe"
size = 5
sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
path = "usr/local/share/vocab.bpe"
[debian]"""


def test_reads_what_people_wrote(tiny):
    spec = read_spec(tiny.images, "tiny")
    assert spec.epoch == int(datetime.datetime(2026, 7, 11, tzinfo=datetime.UTC).timestamp())
    assert spec.env == (("LANG", "C.UTF-8"), ("PATH", "/usr/local/bin:/usr/bin"))
    assert spec.own_layer == ("big",)
    assert spec.exclude_newer is None
    assert spec.fidelity[0].level is Fidelity.UNKNOWN


def test_reads_which_files_come_from_elsewhere_than_an_installed_package(tiny):
    assert (tiny.spec.extract, tiny.spec.files, tiny.spec.modules) == ((), (), ())
    path = tiny.images / "tiny" / "image.toml"
    text = path.read_text().replace("[debian]", EXTRACT).replace("[debian]", FILE)
    path.write_text(text.replace("[wheels]", 'modules = ["kernels.py"]\n[wheels]'))
    spec = read_spec(tiny.images, "tiny")
    assert spec.extract == (WheelMember("big", "big/weights.bin", "usr/local/lib/weights.bin"),)
    assert spec.extracted == {"big"} and spec.modules == ("kernels.py",)
    assert [(f.name, f.size, f.path) for f in spec.files] == [("vocab.bpe", 5, "usr/local/share/vocab.bpe")]


def test_an_unknown_era_lists_the_known_ones(tiny):
    with pytest.raises(UsageError) as caught:
        read_spec(tiny.images, "torch-9")
    assert "tiny" in caught.value.hint


def test_eras_are_the_folders_with_an_image_toml(tiny):
    (tiny.images / "empty").mkdir()
    assert eras(tiny.images) == ("tiny",)


def test_eras_are_sorted_by_the_value_of_their_numbers(tmp_path):
    names = ("cpu", "torch-2.4.1", "torch-2.9.1", "torch-2.10.0")
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "image.toml").write_text("")
    assert eras(tmp_path) == names


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("2026-07-11T00:00:00Z", "2026-07-11T00:00:00", "$.epoch"),
        ("2026-07-11T00:00:00Z", "2026-07-11T00:00:00+02:00", "$.epoch"),
        ("2026-07-11T00:00:00Z", "1783728000", "$.epoch"),
        ('own-layer = ["big"]', 'own-layer = ["big"]\nexclude-newer = "2024-10-19"', "exclude-newer"),
        ('own-layer = ["big"]', "own-layer = []\nexclude-newer = 2024-10-19T00:00:00Z", "exclude-newer"),
        ('era = "tiny"', 'era = "other"', "the directory is 'tiny'"),
        ('level = "unknown"', 'level = "perfect"', "$.fidelity[0].level"),
        ('suite = "bookworm"', 'suite = "bookworm"\nrun = "rm -rf /"', "$.debian"),
        ('["big==1.0", "small==2.0"]', '["--index-url=x"]', "$.wheels.requirements"),
        ('python = "3.11"', 'python = "3.11"\nmodules = ["../probe.py"]', "$.modules[0]"),
        ("[debian]", EXTRACT.replace("usr/local/lib", "etc"), "$.wheels.extract[0].path"),
        ("[debian]", EXTRACT.replace("/lib/", "/../../etc/"), "$.wheels.extract[0].path"),
        ("[debian]", EXTRACT.replace('wheel = "big"', 'wheel = "Big"'), "$.wheels.extract[0].wheel"),
        ("[debian]", FILE.replace("https", "http"), "$.files[0].url"),
        ("[debian]", FILE.replace("vocab.bpe", "", 1), "$.files[0].url"),
        ("[debian]", FILE.replace("size = 5\n", ""), "$.files[0]"),
    ],
)
def test_refuses_what_it_could_only_guess_at(tiny, old, new, where):
    path = tiny.images / "tiny" / "image.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(SchemaError) as caught:
        read_spec(tiny.images, "tiny")
    assert where in caught.value.message
