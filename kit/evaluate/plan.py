"""
Plan a run from a request, the facts and this machine. Fetches and starts nothing.

Record, submission, terms of the task, runtime and image are resolved in this order. Each raises its errors
before anything was spent. `kit.evaluate.gpus` checks the GPUs.
"""

from __future__ import annotations

from dataclasses import dataclass

from kit.benchmark import records
from kit.benchmark.records import Record
from kit.benchmark.submission import Submission, load_submission
from kit.core.errors import PrerequisiteError, UsageError
from kit.evaluate import runtimes
from kit.evaluate.check import require_cpu, require_syntax
from kit.evaluate.launch import cache_program, torchrun
from kit.evaluate.request import HOST_IMAGE, Places, Request
from kit.evaluate.terms import TaskTerms, resolve_terms
from kit.result.predicate import CompileCache
from kit.sandbox.runtime.hostimage import interpreter
from kit.sandbox.runtime.port import Runtime
from kit.values.deadlines import Deadlines
from kit.values.profile import Profile
from kit.values.run_spec import RuntimeName


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Everything that is decided before the run."""

    record: Record
    submission: Submission | None
    """None means the start script, not fetched yet."""
    terms: TaskTerms
    runtime: Runtime
    era: str
    """An era, or `host`."""
    python: str
    """The interpreter as the guest sees it."""
    entry: str
    script_args: tuple[str, ...]
    deadlines: Deadlines
    """Those of the terms, or the request's."""
    compile_cache: CompileCache = CompileCache.COLD

    @property
    def folders(self) -> tuple[str, ...]:
        """Directories made in the workspace first."""
        return ("data", *self.record.script.folders)

    def launcher(self) -> tuple[str, ...]:
        """Return the guest's whole command line; in a warm run, it copies the mounted cache first."""
        start = torchrun(self.era, self.python, self.runtime.contains, self.terms.world_size)
        warm = cache_program(self.python, "use") if self.compile_cache is CompileCache.WARM else ()
        return (*warm, *start, self.entry, *self.script_args)


def draft(request: Request, places: Places) -> RunPlan:
    """
    Return the plan of a request. Fetches, builds and starts nothing.

    Raises `UsageError` for a submission that surely needs CUDA in the smoke profile and for a warm start
    without an image or compiled code; also as loading it does, and as choosing terms, runtime and image does.
    """
    record = records.load(places.records, request.record)
    terms = resolve_terms(request, record, places)
    submission = load_submission(request.submission, terms.start_script.entry) if request.submission else None
    runtime = runtimes.choose(request)
    if submission is not None:
        require_syntax(submission)
        if terms.profile is Profile.SMOKE and runtime.contains:
            require_cpu(submission)
    era = resolve_image(request, terms, runtime)
    if request.compile_cache is CompileCache.WARM:
        if era == HOST_IMAGE:
            raise UsageError(
                "a warm compile cache needs an image, and --image host has none",
                "omit --compile-cache, or use another --image and --runtime",
            )
        require_compiling(terms, "omit --compile-cache, or use --profile full")
    script = submission or terms.start_script
    return RunPlan(
        record=record,
        submission=submission,
        terms=terms,
        runtime=runtime,
        era=era,
        python=resolve_python(request, era),
        entry=script.entry,
        script_args=script.args,
        deadlines=request.overrides.applied(terms.deadlines),
        compile_cache=request.compile_cache,
    )


def require_compiling(terms: TaskTerms, hint: str) -> None:
    """Raise `UsageError` if the start script compiles nothing, so that it can have no compile cache."""
    if not terms.start_script.compiles:
        raise UsageError(
            f"nothing is compiled in the {terms.profile} profile, so there is no compile cache", hint
        )


def resolve_image(request: Request, terms: TaskTerms, runtime: Runtime) -> str:
    """Return the era to run in, or `host`. Raises `UsageError` for an image that the runtime cannot run."""
    if runtime.name is RuntimeName.HOST:
        if request.image not in (None, HOST_IMAGE):
            raise UsageError(
                f"the host runtime cannot run image {request.image!r}",
                "use --image host, or another --runtime",
            )
        return HOST_IMAGE
    return request.image or terms.era


def resolve_python(request: Request, era: str) -> str:
    """Return the guest's interpreter. Raises `PrerequisiteError` if `--python` is missing."""
    if era != HOST_IMAGE:
        return "python3"
    if request.python is None:
        raise PrerequisiteError(
            "--image host needs a Python interpreter that has torch", "pass it as --python PATH"
        )
    return str(interpreter(request.python).executable)
