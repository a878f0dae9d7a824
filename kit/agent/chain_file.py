"""
The signed file of a cumulative run, `chain.json`, and how to verify a chain's directory.

It is an in-toto statement in a Sigstore bundle, as results are, and is written after each stage. Each stage
in it names the digest of the stage before, of its journal's last line, and of its winner's bundles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.agent.chain import (
    CHAIN_SPEC,
    Chain,
    ChainSpec,
    read_chain,
    read_chain_spec,
    require_no_link,
    stage_folder,
)
from kit.agent.recorded import fault_text
from kit.agent.verify import verify_run
from kit.core.codec import decode, encode
from kit.core.digest import Sha256, canonical_json, sha256_file
from kit.core.errors import DigestMismatch, KitError
from kit.core.files import write_atomic
from kit.core.schema import validate
from kit.result import dsse, folder
from kit.result.intoto import parse_typed, wrap
from kit.result.keys import Signer, Trusted, seal
from kit.result.signed import find_key

CHAIN = "chain.json"
PREDICATE_TYPE = "urn:speedrun-kit:agent-chain:v1"
SCHEMA = "agent-chain.v1"


@dataclass(frozen=True, slots=True)
class SignedChain:
    """A chain under a signature that was verified."""

    chain: Chain
    key_id: Sha256
    trusted: bool
    """The reader chose the key."""


@dataclass(frozen=True, slots=True)
class ChainCheck:
    """What was found in the directory of a cumulative run."""

    spec: ChainSpec
    chain: Chain | None
    """As the stages' journals tell it; None if they contradict the spec."""
    signed: SignedChain | None
    """None if there is none, or it is invalid."""
    faults: tuple[str, ...]

    @property
    def trusted(self) -> bool:
        """Tell whether the reader chose the key of `chain.json`."""
        return self.signed is not None and self.signed.trusted


def write_chain(where: Path, spec: ChainSpec, signer: Signer) -> Chain:
    """Sign the chain in a directory, and replace an older file; return it. Raises as `read_chain` does."""
    chain = read_chain(where, spec)
    subjects = [(CHAIN_SPEC, sha256_file(where / CHAIN_SPEC))]
    document = wrap(PREDICATE_TYPE, subjects, encode(Chain, chain))
    validate(SCHEMA, document, CHAIN)
    folder.leave_key(where, signer)
    write_atomic(where / CHAIN, seal(canonical_json(document), signer))
    return chain


def read_signed_chain(where: Path, trusted: Trusted) -> SignedChain:
    """
    Verify the signature and the schema of `chain.json`; the stages are not read.

    Raises `PrerequisiteError`, `SignatureError`, `SchemaError`, and `DigestMismatch` for another spec.
    """
    path = where / CHAIN
    envelope = dsse.envelope_of(dsse.parse_canonical(dsse.read_file(path), path.name))
    key, known = find_key(path, envelope.hint, trusted)
    key.verify(envelope.signature, dsse.pae(envelope.payload_type, envelope.payload))
    document = parse_typed(envelope, PREDICATE_TYPE)
    validate(SCHEMA, document, path.name)
    (subject,) = document["subject"]
    if (subject["name"], subject["digest"]["sha256"]) != (CHAIN_SPEC, sha256_file(where / CHAIN_SPEC)):
        raise DigestMismatch(f"{CHAIN_SPEC} does not have the digest in {CHAIN}")
    chain: Chain = decode(Chain, document["predicate"], "$.predicate")
    return SignedChain(chain, key.key_id, known)


def verify_chain(where: Path, trusted: Trusted) -> ChainCheck:
    """
    Verify a cumulative run: the signed chain, each stage as an agent's run, and where each starts.

    Raises `PrerequisiteError` or `SchemaError` if there is no valid `chain-spec.json`.
    """
    spec, faults = read_chain_spec(where), list[str]()
    signed, chain = None, None
    try:
        signed = read_signed_chain(where, trusted) if (where / CHAIN).exists() else None
    except KitError as e:
        faults.append(f"{CHAIN}: {fault_text(e)}")
    try:
        chain = read_chain(where, spec)
    except KitError as e:
        faults.append(fault_text(e))
    if chain is not None and signed is not None:
        faults += _differences(signed.chain, chain)
    faults += _stage_faults(where, spec, trusted, signed)
    return ChainCheck(spec, chain, signed, tuple(faults))


def _differences(told: Chain, found: Chain) -> Iterator[str]:
    if told == found:
        return
    counts = len(told.stages), len(found.stages)
    if counts[0] != counts[1]:
        yield f"{CHAIN} has {counts[0]} stages that have ended, and the directory {counts[1]}"
    for one, other in zip(told.stages, found.stages, strict=False):
        if one != other:
            yield f"stage {one.number}: its journal, winner or times are not those in {CHAIN}"
            return
    if (told.spec_sha256, told.kit_version, told.end) != (found.spec_sha256, found.kit_version, found.end):
        yield f"{CHAIN} states another spec or another end than the directory"


def _stage_faults(
    where: Path, spec: ChainSpec, trusted: Trusted, signed: SignedChain | None
) -> Iterator[str]:
    """Yield the faults of each stage that was started."""
    for number in range(1, len(spec.tasks) + 1):
        stage = stage_folder(where, spec, number)
        if not stage.is_dir():
            continue
        try:
            require_no_link(where, stage)
            check = verify_run(stage, trusted)
        except KitError as e:
            yield f"stage {number}: {fault_text(e)}"
            continue
        yield from (f"stage {number}: {fault}" for fault in check.faults)
        if signed is not None and check.summary is not None and check.summary.key_id != signed.key_id:
            yield f"stage {number} is signed by {check.summary.key_id[:12]}, {CHAIN} by {signed.key_id[:12]}"
