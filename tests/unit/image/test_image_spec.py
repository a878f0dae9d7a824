"""What image.toml may say."""

from __future__ import annotations

import datetime

import pytest

from kit.core.errors import PrerequisiteError, SchemaError
from kit.image.spec import eras, read_spec
from kit.values.fidelity import Fidelity


def test_reads_what_people_wrote(tiny):
    spec = read_spec(tiny.images, "tiny")
    assert spec.epoch == int(datetime.datetime(2026, 7, 11, tzinfo=datetime.UTC).timestamp())
    assert spec.env == (("LANG", "C.UTF-8"), ("PATH", "/usr/local/bin:/usr/bin"))
    assert spec.own_layer == ("big",)
    assert spec.exclude_newer is None
    assert spec.fidelity[0].level is Fidelity.UNKNOWN


def test_an_unknown_era_lists_the_known_ones(tiny):
    with pytest.raises(PrerequisiteError) as caught:
        read_spec(tiny.images, "torch-9")
    assert "tiny" in caught.value.hint


def test_eras_are_the_folders_with_an_image_toml(tiny):
    (tiny.images / "empty").mkdir()
    assert eras(tiny.images) == ("tiny",)


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
