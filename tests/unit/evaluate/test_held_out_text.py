"""The held-out shard is in the result, can be composed again, and looks like the shard that it stands for."""

import stat
from dataclasses import replace

import pytest

from kit.core.digest import sha256_bytes, sha256_file
from kit.data import held_out
from kit.data.shard import write_shard
from kit.evaluate import reruns
from kit.evaluate import run as evaluation
from kit.evaluate.audits import AuditSelection, RerunAudit
from kit.evaluate.compose import NOTHING_SEEN, compose
from kit.evaluate.interrupted import lost_result
from kit.evaluate.launch import DATA
from kit.evaluate.rerun_context import RerunContext
from kit.result.statement import Subjects, statement
from kit.sandbox.folder import RunFolder
from kit.values.run_result import Point, RunStatus

POINTS = (Point(0, 9, 5.5, 0, 10**9), Point(9, 9, 3.2, 8000, 10**10))
SELECTION = AuditSelection(frozenset({RerunAudit.UNIFORM, RerunAudit.HELD_OUT}), "a seed")


class Looking(RerunContext):
    """Reruns without guests, which note what the guest would see of the validation shard."""

    def run(self, name, spec, lines=None):
        SEEN[name] = shape(spec)
        for path in (self.output(name).log, self.output(name).stamps):
            path.parent.mkdir(exist_ok=True)
            path.touch()
        return completed(spec)

    def points(self):
        return POINTS


SEEN = {}


def completed(spec):
    return replace(lost_result(spec, "it exited with 0"), status=RunStatus.COMPLETED, points=POINTS)


def shape(spec):
    """Return what `stat` and the list of mounts say of the shard, less what differs in every run."""
    over = spec.mounts[-1]
    about = over.source.stat()
    return (
        *([m.target for m in spec.mounts], over.source.name, over.source.parent.name[: len("shard-")]),
        *(about.st_size, stat.filemode(about.st_mode), about.st_nlink, about.st_mtime_ns),
        *(
            len(over.source.parent.name),
            over.source.parent.parent.name,
            len(list(over.source.parent.iterdir())),
        ),
    )


@pytest.fixture
def report(ready, tmp_path):
    SEEN.clear()
    return reruns.audit(context_of(ready, tmp_path), completed(ready[0].spec))


def context_of(ready, tmp_path, source=True):
    found, places = ready
    folder = RunFolder(tmp_path / "run")
    folder.scratch.mkdir(parents=True)
    return Looking(
        found, places, folder, SELECTION, found.plan.terms.start_script.files(places), None,
        lambda: False, lambda name: None, found.plan.terms.data.bring_held_out(places) if source else None,
    )  # fmt: skip


def test_every_guest_sees_the_same_of_its_validation_shard(ready, report, tmp_path):
    contained = replace(ready[0].plan, runtime=Contained(ready[0].plan.runtime))
    folder = RunFolder(tmp_path / "primary")
    folder.scratch.mkdir(parents=True)
    with evaluation._own_val(replace(ready[0], plan=contained), folder) as spec:
        own = shape(spec)
        assert sha256_file(spec.mounts[-1].source) == file_of(ready).sha256
        assert spec.mounts[-1].target == DATA / "fineweb_val_000000.bin"
    others = {"canary-uniform", "baseline", "baseline-uniform", "held-out", "held-out-baseline"}
    assert set(SEEN) == others and dict.fromkeys(others, own) == SEEN
    assert list(folder.scratch.iterdir()) == []


class Contained:
    """A runtime that says that it contains its guests."""

    contains = True

    def __init__(self, runtime):
        self.name = runtime.name


def file_of(ready):
    return next(f for f in ready[0].data.files if "_val_" in f.name)


def test_a_run_without_containment_keeps_its_mounts(ready, tmp_path):
    with evaluation._own_val(ready[0], RunFolder(tmp_path)) as spec:
        assert spec == ready[0].spec


def test_a_reader_composes_the_same_shard_from_what_the_result_says(ready, report, tmp_path):
    text = report.held_out
    assert (text.seed, text.windows, text.sources) == ("a seed", 1, ())
    assert (text.file.name, text.file.size) == (file_of(ready).name, file_of(ready).size)
    language = ready[0].plan.terms.data.spec.language
    again = held_out.sample(text.seed, language, (text.file.size - 1024) // 2)
    write_shard(tmp_path / "again.bin", again.tokens)
    assert sha256_file(tmp_path / "again.bin") == text.file.sha256 != file_of(ready).sha256


def test_the_signed_statement_names_the_held_out_shard(ready, report):
    found, places = ready
    predicate = compose(
        found, places, completed(found.spec), NOTHING_SEEN, report.findings, held_out=report.held_out
    )
    empty = sha256_bytes(b"")
    document = statement(predicate, Subjects(empty, empty, empty))
    assert report.held_out.file.sha256.encode() in document and b'"seed":"a seed"' in document


def test_without_other_text_the_check_is_skipped_and_the_result_names_none(ready, tmp_path):
    report = reruns.audit(context_of(ready, tmp_path, source=False), completed(ready[0].spec))
    (finding,) = (f for f in report.findings if f.id == "held_out")
    assert finding.outcome == "skipped" and "reads all shards" in finding.detail
    assert report.held_out is None


def test_shards_that_cannot_be_had_are_missed_before_the_run_is_reserved(ready, monkeypatch, tmp_path):
    class Missing(Exception):
        pass

    def absent(self, places):
        raise Missing

    monkeypatch.setattr(type(ready[0].plan.terms.data), "bring_held_out", absent)
    contained = replace(ready[0].plan, runtime=Contained(ready[0].plan.runtime))
    with pytest.raises(Missing):
        evaluation.run_prepared(replace(ready[0], plan=contained), ready[1], evaluation.Listener(), SELECTION)
    assert not ready[1].out.exists()
