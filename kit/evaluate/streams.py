"""Make canary streams: shards of drawn tokens, and text-like samples drawn by a guest."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from kit.audit.source import SourceFile
from kit.core.digest import canonical_json, sha256_bytes, sha256_file
from kit.core.errors import KitError, RunError
from kit.core.files import make_readable
from kit.core.schema import read_json
from kit.core.store import Store
from kit.data import canary_streams
from kit.data.canary_streams import TokenStream
from kit.data.shard import HEADER_BYTES, TOKEN_BYTES, read_tokens, write_shard
from kit.evaluate.prepare import Prepared
from kit.evaluate.start_script import REFERENCE
from kit.values.run_result import RunResult, RunStatus
from kit.values.run_spec import RunSpec

SAMPLER = REFERENCE.with_name("sample_reference.py")
TEMPERATURES = ("1.0", "1.25")
"""Of the first and last samples, and of those in the middle: they lift the entropy above the model's loss."""
Sampling = Callable[[RunSpec], tuple[RunResult, Path]]


def write(folder: Path, files: tuple[SourceFile, ...]) -> None:
    """Write a script's files where a guest can read them."""
    folder.chmod(0o755)
    for file in files:
        path = folder / file.name
        make_readable(path.parent, folder)
        path.write_bytes(file.data)
        path.chmod(0o444)


def write_stream(path: Path, drawn: TokenStream, size: int) -> None:
    """Write a drawn stream as a shard of `size` bytes, the size of the shard that it replaces."""
    write_shard(path, canary_streams.fill_shard(drawn, (size - HEADER_BYTES) // TOKEN_BYTES))


def model(ready: Prepared, store: Store, seed: str, run: Sampling) -> TokenStream:
    """
    Return samples of a reference model that a guest trains in the run's own image; `run` starts that guest.

    The same seed, image and guest files give the stream of the store, unless that is not whole any more.
    Raises `RunError` if the guest fails.
    """
    scripts = tuple(SourceFile(p.name, p.read_bytes()) for p in (REFERENCE, SAMPLER))
    terms = ready.plan.terms
    arguments = (
        *("--sample-count", str(terms.val_tokens), "--sample-length", str(terms.sampler.length)),
        *("--sample-seed", seed, "--temperatures", *TEMPERATURES),
        *terms.sampler.args,
    )
    kept = store.room("canary") / _key(ready, scripts, arguments)
    kept_stream = _kept(kept)
    if kept_stream is not None:
        return kept_stream
    with store.staging("canary") as staged:
        folder = staged / "script"
        folder.mkdir()
        write(folder, scripts)
        drawn = _draw(ready, folder, arguments, run)
        _keep(staged, drawn)
        with store.lock(f"canary-{kept.name}"):
            if _kept(kept) is None:
                shutil.rmtree(kept, ignore_errors=True)
                staged.rename(kept)
    return drawn


def _key(ready: Prepared, scripts: tuple[SourceFile, ...], arguments: tuple[str, ...]) -> str:
    image = ready.image.config_digest if ready.image else "host"
    files = [sha256_bytes(s.data) for s in scripts]
    data = [f.sha256 for f in ready.data.files]
    return sha256_bytes(canonical_json([image, files, data, list(arguments), ready.plan.terms.world_size]))


def _draw(ready: Prepared, folder: Path, arguments: tuple[str, ...], run: Sampling) -> TokenStream:
    plan = replace(ready.plan, entry=SAMPLER.name, script_args=arguments)
    # the samples are drawn after the last validation line
    deadlines = replace(ready.spec.deadlines, teardown_s=ready.spec.deadlines.total_s)
    spec = replace(ready.spec, submission=folder, argv=plan.launcher(), deadlines=deadlines)
    result, log = run(spec)
    if result.status is not RunStatus.COMPLETED:
        raise RunError(
            f"the run that draws the canary text ended with status {result.status}: {result.reason}",
            f"see {log}",
        )
    return canary_streams.read_samples(_lines(log), ready.plan.terms.val_tokens)


def _lines(log: Path) -> Iterator[bytes]:
    with log.open("rb") as f:
        yield from (line for line in f if line.startswith(b"sample"))


def _keep(folder: Path, drawn: TokenStream) -> None:
    write_shard(folder / "stream.bin", drawn.tokens)
    summary = {
        "floor": drawn.floor,
        "standard_error": drawn.standard_error,
        "sha256": sha256_file(folder / "stream.bin"),
    }
    (folder / "stream.json").write_bytes(canonical_json(summary))


def _kept(folder: Path) -> TokenStream | None:
    """Return the stream in a folder of the store; None if it is not there, or not as it was written."""
    stream = folder / "stream.bin"
    try:
        summary = read_json(folder / "stream.json")
        if sha256_file(stream) != summary["sha256"]:
            return None
        return TokenStream(read_tokens(stream), float(summary["floor"]), float(summary["standard_error"]))
    except (KitError, OSError, KeyError, TypeError, ValueError):
        return None
