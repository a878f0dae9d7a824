"""
Check a submission without running it: files, arguments, source, and what the profile's machine lacks.

What is found here is what `eval` would refuse, what would end the script at its start, or what an audit of
the source would report. A submission without findings may still fail when it runs.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import assert_never

from kit.audit.arguments import argument_faults
from kit.audit.finding import Outcome, Severity
from kit.audit.needs import Need, cuda_needs, missing_modules, start_code
from kit.audit.parsing import ParsedFile, SourceFile, parse_files
from kit.audit.script import OF_SOME_ERAS
from kit.audit.source import PARSE
from kit.benchmark import records
from kit.benchmark.records import Record
from kit.benchmark.submission import RUN_TOML, Submission, SubmissionFolder, read_submission
from kit.core.digest import Sha256, tree_digest
from kit.core.errors import UsageError
from kit.data.synth import load_smoke
from kit.evaluate.launch import DATA
from kit.evaluate.request import Places
from kit.evaluate.start_script import (
    RecordScript,
    ReferenceTrainer,
    files_of,
    parsed_findings,
    script_sources,
)
from kit.evaluate.task_data import task_data
from kit.values.era_modules import modules_of
from kit.values.profile import Profile
from kit.values.run_spec import WORKSPACE
from kit.values.task_id import is_smoke

CPU_HINT = (
    "use --profile full on a machine with GPUs; or use CUDA only if torch.cuda.is_available(), and the "
    "backend gloo without it"
)
UNPARSED = "the source was not checked further: correct the syntax first"
NO_START = "the source was not compared: pass --record N to name the start script"
SHOWN_MODULES = frozenset({"flash_attn_interface", "kernels", "tiktoken"})
"""Those modules of `CheckTerms.modules` that a hint names."""
SHOWN = 3
"""Places that a refusal shows."""
DATA_HINT = "read data/fineweb10B/fineweb_train_*.bin and data/fineweb10B/fineweb_val_*.bin"

_BLANK = re.compile(r"[\s\0]")


@dataclass(frozen=True, slots=True)
class CheckTerms:
    """What a submission is checked against: a profile, and the task of a record if one is named."""

    profile: Profile
    start: tuple[SourceFile, ...] | None
    """The start script; None if the full profile has no record."""
    shards: tuple[str, ...]
    """Names of the shards that a run reads; empty if they are not known."""
    entry: str | None = None
    """The training script as the task names it; None if the task is not known."""
    modules: frozenset[str] = frozenset()
    """Modules that the task's image has and other images lack; all of them if the task is not known."""


@dataclass(frozen=True, slots=True)
class SubmissionFinding:
    """One thing that is wrong with a submission, or that a person should look at."""

    id: str
    """`files`, `run.toml`, `parse`, `arguments`, `imports`, `cuda`, `data`, or the id of an audit check."""
    fatal: bool
    """Whether a run would be refused, fail at its start, or not count."""
    message: str
    hint: str = ""
    file: str = ""
    """Relative POSIX path; empty if the finding is about several files."""
    line: int | None = None


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """One file of a submission."""

    name: str
    size: int
    """Bytes."""
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class SubmissionCheck:
    """All that can be said about a submission without running it."""

    folder: Path
    profile: Profile
    digest: Sha256 | None
    """The submission's digest; None if a run would refuse its files."""
    args: tuple[str, ...]
    files: tuple[CheckedFile, ...]
    left_out: tuple[str, ...]
    """Files and directories that no run gets; a directory ends with `/`."""
    findings: tuple[SubmissionFinding, ...]
    skipped: tuple[str, ...]
    """Checks that were not made, and why."""

    @property
    def is_clean(self) -> bool:
        """Tell whether nothing was found that would refuse or fail a run; warnings are no reason."""
        return not any(finding.fatal for finding in self.findings)


def check_terms(record: str | int | None, profile: Profile, places: Places) -> CheckTerms:
    """
    Return what the submissions of a record's task are checked against. Fetches the start script if necessary.

    Raises `UsageError` for an unknown record, and what fetching raises.
    """
    known = None if record is None else records.load(places.records, record)
    match profile:
        case Profile.SMOKE:
            smoke = load_smoke(places.records)
            own = known is not None and is_smoke(known.name)
            script = RecordScript(known) if known is not None and own else ReferenceTrainer(smoke.guest.args)
            start = script.files(places)
            return CheckTerms(profile, start, tuple(pin.file.name for pin in smoke.shards), script.entry)
        case Profile.FULL if known is not None:
            return _full_terms(known, places)
        case Profile.FULL:
            return CheckTerms(profile, None, (), modules=OF_SOME_ERAS)
        case _:
            assert_never(profile)


def _full_terms(record: Record, places: Places) -> CheckTerms:
    script = records.fetch_script(record, places.store, script_sources(places), places.progress)
    shards = task_data(Profile.FULL, record, places).names(places)
    modules = modules_of(record.era)
    return CheckTerms(Profile.FULL, files_of(script), shards, record.script.entry, modules)


def check_submission(folder: Path, terms: CheckTerms) -> SubmissionCheck:
    """
    Check a submission's directory. Starts and writes nothing.

    Raises `PrerequisiteError` if `folder` is not a directory, and `OSError` if it cannot be listed.
    """
    read = read_submission(folder, terms.entry)
    files = parse_files(SourceFile(f.name, f.data) for f in read.files)
    broken = {fault.name for fault in read.faults}
    unparsed = tuple(_parse_findings(files))
    findings = (
        *(SubmissionFinding(_id_of(f.name), True, f.message, f.hint, f.name) for f in read.faults),
        *(unparsed or _source_findings(read, files, broken, terms)),
    )
    return SubmissionCheck(
        folder=folder,
        profile=terms.profile,
        digest=None if read.faults else tree_digest({f.name: f.sha256 for f in read.files}),
        args=read.args,
        files=tuple(CheckedFile(f.name, len(f.data), f.sha256) for f in read.files),
        left_out=read.left_out,
        findings=findings,
        skipped=(UNPARSED,) if unparsed else (NO_START,) if terms.start is None else (),
    )


def _source_findings(
    read: SubmissionFolder, files: Sequence[ParsedFile], broken: Collection[str], terms: CheckTerms
) -> Iterator[SubmissionFinding]:
    yield from _argument_findings(read, files)
    yield from _start_findings(read.entry, files, terms)
    yield from _data_findings(read, files, terms)
    yield from _audit_findings([p for p in files if p.file.name not in broken], terms)


def require_syntax(submission: Submission) -> None:
    """Raise `UsageError` if Python cannot parse a submission's script, which would end it at its start."""
    entry = [SourceFile(f.name, f.data) for f in submission.files if f.name == submission.entry]
    for finding in _parse_findings(parse_files(entry)):
        line = "" if finding.line is None else f":{finding.line}"
        raise UsageError(f"{finding.file}{line}: {finding.message}", finding.hint or "correct the script")


def require_cpu(submission: Submission) -> None:
    """Raise `UsageError` if a submission surely needs CUDA, which the smoke profile has not."""
    files = parse_files(SourceFile(f.name, f.data) for f in submission.files)
    needs = cuda_needs(start_code(files, submission.entry))
    if needs:
        places = "; ".join(f"{n.file}:{n.line}: {n.what}" for n in needs[:SHOWN])
        more = f"; and {len(needs) - SHOWN} more" if len(needs) > SHOWN else ""
        raise UsageError(
            f"the submission needs CUDA, and the smoke profile runs on CPUs: {places}{more}", CPU_HINT
        )


def _id_of(name: str) -> str:
    return RUN_TOML if name == RUN_TOML else "files"


def _parse_findings(files: Sequence[ParsedFile]) -> Iterator[SubmissionFinding]:
    for parsed in files:
        match parsed.error:
            case None:
                pass
            case SyntaxError() as e:
                message = f"Python 3.11 cannot parse it: {e.msg}"
                yield SubmissionFinding("parse", True, message, "", parsed.file.name, e.lineno)
            case e:
                message = f"Python 3.11 cannot parse it: {e or type(e).__name__}"
                yield SubmissionFinding("parse", True, message, "save it as UTF-8 text", parsed.file.name)


def _trees(files: Sequence[ParsedFile]) -> list[ast.Module]:
    return [parsed.tree for parsed in files if parsed.tree is not None]


def _argument_findings(read: SubmissionFolder, files: Sequence[ParsedFile]) -> Iterator[SubmissionFinding]:
    hint = f"change the args in {RUN_TOML}, or the options in {read.entry}"
    for fault in argument_faults(read.args, _trees(files)):
        yield SubmissionFinding("arguments", True, fault, hint, RUN_TOML)


def _start_findings(
    entry: str, files: Sequence[ParsedFile], terms: CheckTerms
) -> Iterator[SubmissionFinding]:
    """Yield what ends the script at its start: missing modules, and CUDA in the smoke profile."""
    cuda = terms.profile is Profile.FULL
    added = ", ".join(sorted(terms.modules & SHOWN_MODULES))
    hint = f"use the modules of Python, torch and numpy{added and ', and ' + added}"
    code = start_code(files, entry)
    for need in missing_modules(code, cuda, terms.modules):
        message = f"{need.what}: the image does not have this module"
        yield _finding_of(need, "imports", message, hint)
    if not cuda:
        for need in cuda_needs(code):
            message = f"{need.what} needs CUDA, and the smoke profile runs on CPUs"
            yield _finding_of(need, "cuda", message, CPU_HINT)


def _finding_of(need: Need, name: str, message: str, hint: str) -> SubmissionFinding:
    return SubmissionFinding(name, True, message, hint, need.file, need.line)


def _data_findings(
    read: SubmissionFolder, files: Sequence[ParsedFile], terms: CheckTerms
) -> Iterator[SubmissionFinding]:
    """Yield the data files that the submission names, its start script does not, and no run mounts."""
    if not terms.shards:
        return
    folder = DATA.relative_to(WORKSPACE).as_posix()
    mounted = [f"{folder}/{name}" for name in terms.shards]
    known = {text for _, _, text in _strings(parse_files(terms.start or ()))}
    named = list(_strings(files))
    named += [(RUN_TOML, 0, arg.rpartition("=")[2]) for arg in read.args]
    for file, line, text in named:
        if text in known or not _names_data(text):
            continue
        path = text.removeprefix(f"{WORKSPACE}/").removeprefix("./")
        if not any(name == path or fnmatchcase(name, path) for name in mounted):
            message = f"no run has the data {text!r}; {len(mounted)} shards are mounted in {folder}"
            yield SubmissionFinding("data", True, message, DATA_HINT, file, line or None)


def _names_data(text: str) -> bool:
    """Tell whether a string names data; other `.bin` files may be checkpoints that the script writes."""
    name = text.removesuffix(".bin")
    return name != text and ("data/" in name or "fineweb" in name) and not _BLANK.search(text)


def _strings(files: Sequence[ParsedFile]) -> Iterator[tuple[str, int, str]]:
    """Yield file, line and text of every string in the code."""
    for parsed in files:
        for node in () if parsed.tree is None else ast.walk(parsed.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield parsed.file.name, node.lineno, node.value


def _audit_findings(files: Sequence[ParsedFile], terms: CheckTerms) -> Iterator[SubmissionFinding]:
    """Yield what the source checks of an evaluation would report."""
    if terms.start is None or not files:
        return
    for finding in parsed_findings(files, terms.start):
        told = finding.id == PARSE.id and any(f.id == "parse" for f in _parse_findings(files))
        if finding.outcome is Outcome.FAILED and not told:
            yield SubmissionFinding(finding.id, finding.severity is Severity.FATAL, finding.detail)
