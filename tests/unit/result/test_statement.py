"""The bytes that get signed."""

import json
from dataclasses import replace

import pytest

from kit.core.digest import Sha256, canonical_json
from kit.core.errors import SchemaError
from kit.result.statement import Subjects, parse, statement


def test_a_statement_comes_back_as_the_values_it_was_made_of(make, assets):
    predicate, subjects = make.predicate(assets), make.subjects(assets)
    found = parse(json.loads(statement(predicate, subjects)))
    assert (found.predicate, found.subjects) == (predicate, subjects)


def test_a_statement_is_canonical_json_of_an_in_toto_statement(make, assets):
    data = statement(make.predicate(assets), make.subjects(assets))
    document = json.loads(data)
    assert canonical_json(document) == data
    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert [s["name"] for s in document["subject"]] == ["guest.log", "stamps", "submission"]


def test_what_no_verifier_accepts_is_not_written(make, assets):
    found = make.predicate(assets)
    bad = replace(found, run=replace(found.run, nonce="NOT HEX"))
    with pytest.raises(SchemaError, match="nonce"):
        statement(bad, make.subjects(assets))


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_number_that_json_cannot_say_is_not_written(make, assets, loss):
    found = make.predicate(assets)
    bad = replace(found, score=replace(found.score, fsr=loss))
    with pytest.raises(SchemaError):
        statement(bad, make.subjects(assets))


def test_a_statement_without_its_three_subjects_is_refused():
    with pytest.raises(SchemaError, match="subject"):
        parse({"subject": [{"name": "guest.log", "digest": {"sha256": "0" * 64}}], "predicate": {}})


def test_another_subject_gives_other_bytes(make, assets):
    subjects = make.subjects(assets)
    other = Subjects(subjects.submission, subjects.log, Sha256("0" * 64))
    predicate = make.predicate(assets)
    assert statement(predicate, subjects) != statement(predicate, other)
