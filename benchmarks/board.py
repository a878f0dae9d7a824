"""
What a board of a thousand results costs: verifying every bundle with its files, ranking, rendering.

    python benchmarks/board.py [RESULTS]

Prints processor seconds, and what one bundle takes beside its bare ECDSA check; only the ratios say something
about the code. The results are printed by the tests' press: small scripts and short outputs.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from kit.benchmark.tasks import load_tasks
from kit.core.facts import facts_root
from kit.core.schema import validate
from kit.leaderboard.page.rank import rank
from kit.leaderboard.page.site import write_site
from kit.leaderboard.submit.check import check
from kit.result import dsse
from kit.result.statement import SCHEMAS
from kit.result.verify import open_bundle

REPOSITORY = Path(__file__).parents[1]
UNCOUNTED = 9
"""Of the gallery's runs: never made, or made to be refused."""
ROUNDS = 5
"""Of the small parts, in turn; of the whole, one."""


def gallery() -> ModuleType:
    """Return the module that fills repositories for tests."""
    file = REPOSITORY / "tests" / "assets" / "bundles" / "gallery.py"
    spec = importlib.util.spec_from_file_location("gallery", file)
    assert spec is not None and spec.loader is not None
    sys.modules["gallery"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time of one call."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def parts(bundles: list[Path], pem: bytes) -> dict[str, Callable[[], object]]:
    """Return what is compared, each over all bundles."""
    data = [bundle.read_bytes() for bundle in bundles]
    envelopes = [dsse.envelope_of(dsse.parse_canonical(d, "x")) for d in data]
    signed = [(e.signature, dsse.pae(e.payload_type, e.payload)) for e in envelopes]
    key = load_pem_public_key(pem)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    method = ec.ECDSA(hashes.SHA256())

    def bare() -> None:
        for signature, message in signed:
            key.verify(signature, message, method)

    def parsed() -> None:
        for d in data:
            envelope = dsse.envelope_of(dsse.parse_canonical(d, "x"))
            key.verify(envelope.signature, dsse.pae(envelope.payload_type, envelope.payload), method)
            dsse.parse_canonical(envelope.payload, "payload")

    documents = [dsse.parse_canonical(e.payload, "payload") for e in envelopes]

    def schema() -> None:
        for document in documents:
            validate(SCHEMAS[document["predicateType"]], document, "payload")

    return {"bare ECDSA": bare, "signature and strict parsing": parsed, "schema alone": schema}


def main() -> None:
    """Fill a repository, time the whole and the parts, and print."""
    results = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as name:
        where = Path(name)
        made = gallery().fill(where, results + UNCOUNTED)
        tasks = load_tasks(facts_root())
        begin = time.perf_counter()
        took = {"check": seconds(lambda: check(made.root, made.trusted))}
        checked = check(made.root, made.trusted)
        took["rank"] = seconds(lambda: rank(checked, facts_root(), tasks))
        board = rank(checked, facts_root(), tasks)
        took["render"] = seconds(lambda: write_site(board, where / "site", "Board", len(tasks)))
        wall = (time.perf_counter() - begin) / 2
        page = (where / "site" / "index.html").stat().st_size
        count = len(checked.accepted)
        print(f"{count} results verified with their files and rendered, {len(checked.findings)} findings")
        for part, s in took.items():
            print(f"{part:30} {s:8.2f} s of processor time")
        print(
            f"{'together':30} {sum(took.values()):8.2f} s, about {wall:.1f} s by the clock; page {page} bytes"
        )
        key = made.trusted.keys[0].key_id
        one_key = [s.bundle.predicate.run.id for s in checked.accepted if s.bundle.key_id == key]
        bundles = [where / "runs" / run_id / "result.json" for run_id in one_key]
        found = parts(bundles, (where / "keys" / "signer.pem").read_bytes())
        found["all of it, with files"] = lambda: [open_bundle(b, made.trusted) for b in bundles]
        rounds = [{part: seconds(work) for part, work in found.items()} for _ in range(ROUNDS)]
        middle = {part: statistics.median(r[part] for r in rounds) for part in found}
        print(
            f"one bundle of {bundles[0].stat().st_size} bytes, median of {ROUNDS} rounds over {len(bundles)}"
        )
        for part, s in middle.items():
            ms, ratio = 1000 * s / len(bundles), s / middle["bare ECDSA"]
            print(f"{part:30} {ms:8.3f} ms {ratio:8.1f} x")


if __name__ == "__main__":
    main()
