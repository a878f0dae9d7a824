"""Programs of others accept the good bundle and refuse a tampered one; some faults only ours refuses."""

import base64
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kit.core.digest import canonical_json
from kit.core.errors import IntegrityError
from kit.result import keys
from kit.result.dsse import PAYLOAD_TYPE, pae
from kit.result.verify import open_bundle

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "tests" / "assets" / "bundles"
GOOD = (ASSETS / "good.json").read_bytes()


def with_payload(document, change):
    payload = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
    change(payload)
    document["dsseEnvelope"]["payload"] = base64.b64encode(canonical_json(payload)).decode()


def raise_fsr(payload):
    payload["predicate"]["score"]["fsr"] = 0.9


def tampered(kind):
    """Return the good bundle, changed after signing."""
    document = json.loads(GOOD)
    envelope = document["dsseEnvelope"]
    match kind:
        case "payload":
            with_payload(document, raise_fsr)
        case "type":
            envelope["payloadType"] = "application/json"
        case "signature":
            sig = bytearray(base64.b64decode(envelope["signatures"][0]["sig"]))
            sig[-1] ^= 1
            envelope["signatures"][0]["sig"] = base64.b64encode(sig).decode()
    return canonical_json(document)


def tampered_unsigned(kind):
    """Return the good bundle with a change to what the signature does not cover."""
    match kind:
        case "hint":
            document = json.loads(GOOD)
            document["verificationMaterial"]["publicKey"]["hint"] = "0" * 64
            return canonical_json(document)
        case "padding bits":
            return (ASSETS / "bad_1_padding_bits.json").read_bytes()
        case "duplicate keys":
            return (ASSETS / "bad_0_duplicate_key.json").read_bytes()
        case "high s":
            return (ASSETS / "bad_1_high_s.json").read_bytes()
        case "white space":
            return json.dumps(json.loads(GOOD), indent=1).encode()
    raise AssertionError(kind)


SIGNED = ("payload", "type", "signature")
UNSIGNED = ("hint", "padding bits", "duplicate keys", "high s", "white space")


@pytest.fixture
def trusted():
    return keys.Trusted((keys.read_public(ASSETS / "signer.pem"),))


@pytest.fixture
def folder(tmp_path):
    """A copy of the assets as a run's folder."""
    folder = Path(shutil.copytree(ASSETS, tmp_path / "run"))
    (folder / "result.json").write_bytes(GOOD)
    return folder


@pytest.mark.parametrize("kind", SIGNED + UNSIGNED)
def test_ours_refuses_every_change(folder, trusted, kind):
    open_bundle(folder, trusted)
    (folder / "result.json").write_bytes(tampered(kind) if kind in SIGNED else tampered_unsigned(kind))
    with pytest.raises(IntegrityError, match=r"^step [0-3]: "):
        open_bundle(folder, trusted)


def openssl(folder, bundle):
    """Return the answer of `openssl dgst -verify` for a bundle."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    envelope = json.loads(bundle)["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    (folder / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    (folder / "pae").write_bytes(pae(envelope["payloadType"], payload))
    argv = ["openssl", "dgst", "-sha256", "-verify", "signer.pem", "-signature", "sig", "pae"]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=300)


def test_openssl_accepts_the_good_bundle(folder):
    found = openssl(folder, GOOD)
    assert (found.returncode, found.stdout.strip()) == (0, "Verified OK")


@pytest.mark.parametrize("kind", SIGNED)
def test_openssl_refuses_what_was_changed_after_signing(folder, kind):
    assert openssl(folder, tampered(kind)).returncode == 1


def test_openssl_accepts_a_fresh_key_and_any_payload(folder):
    """Not only the committed asset: the format itself is what openssl understands."""
    signer = keys.throwaway()
    payload = "\u00e4 \U0001f642".encode() * 1000
    (folder / "signer.pem").write_bytes(signer.public.pem)
    assert openssl(folder, keys.seal(payload, signer)).returncode == 0
    assert json.loads(keys.seal(payload, signer))["dsseEnvelope"]["payloadType"] == PAYLOAD_TYPE


def documented_commands():
    text = (ROOT / "docs" / "reference" / "bundle.md").read_text()
    (block,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert len(block.splitlines()) == 7
    return block


def run_documented(folder):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    return subprocess.run(
        ["bash", "-e", "-c", documented_commands()], cwd=folder, capture_output=True, text=True, timeout=300
    )


def test_the_documented_commands_accept_the_good_bundle(folder):
    found = run_documented(folder)
    assert (found.returncode, found.stdout) == (0, "Verified OK\nguest.log: OK\nstamps: OK\nsubmission: OK\n")


@pytest.mark.parametrize("kind", SIGNED)
def test_the_documented_commands_refuse_what_was_changed_after_signing(folder, kind):
    (folder / "result.json").write_bytes(tampered(kind))
    assert run_documented(folder).returncode != 0


@pytest.mark.parametrize("name", ["guest.log", "stamps", "submission/train_gpt2.py"])
def test_the_documented_commands_refuse_a_changed_file(folder, name):
    path = folder / name
    path.write_bytes(path.read_bytes() + b"\n")
    found = run_documented(folder)
    assert found.returncode != 0 and f"{Path(name).parts[0]}: NOT the signed one" in found.stdout


@pytest.fixture(scope="module")
def sigstore_verify(tmp_path_factory):
    """The npm package @sigstore/verify in a folder of its own: a function from bundles to its answers."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    folder = Path(shutil.copytree(ASSETS / "sigstore_verify", tmp_path_factory.mktemp("npm") / "check"))
    install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        pytest.skip(f"npm could not install @sigstore/verify: {done.stderr[-300:]}")

    def answers(*bundles):
        paths = []
        for number, bundle in enumerate(bundles):
            paths.append(folder / f"{number}.json")
            paths[-1].write_bytes(bundle)
        argv = ["node", "verify.mjs", str(ASSETS / "signer.pem"), *map(str, paths)]
        shown = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=300, check=True)
        return shown.stdout.splitlines()

    return answers


@pytest.mark.network
def test_sigstore_verify_accepts_the_good_bundle(sigstore_verify):
    assert sigstore_verify(GOOD) == ["accepted"]


@pytest.mark.network
def test_sigstore_verify_refuses_what_was_changed_after_signing(sigstore_verify):
    answers = sigstore_verify(*(tampered(kind) for kind in SIGNED))
    assert answers == ["refused SIGNATURE_ERROR"] * len(SIGNED)


@pytest.mark.network
def test_sigstore_verify_accepts_what_only_ours_refuses(sigstore_verify):
    """If it starts to refuse one of these, docs/reference/bundle.md has to say so."""
    assert sigstore_verify(*(tampered_unsigned(kind) for kind in UNSIGNED)) == ["accepted"] * len(UNSIGNED)


READERS = """
import json, sys
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey
from sigstore_models.bundle.v1 import Bundle

text = open(sys.argv[1]).read()
Bundle.from_json(text)
document = json.loads(text)
pem = open(sys.argv[2], "rb").read()
hint = document["verificationMaterial"]["publicKey"]["hint"]
key = SSlibKey.from_crypto(load_pem_public_key(pem), keyid=hint)
print(*Envelope.from_dict(document["dsseEnvelope"]).verify([key], 1))
"""


@pytest.mark.network
def test_python_readers_of_dsse_and_sigstore_parse_and_verify_the_good_bundle(tmp_path):
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    wanted = ["securesystemslib==1.6.0", "sigstore-models==0.0.6", "cryptography"]
    install = [
        str(venv / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        *wanted,
    ]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"pip could not install the readers: {done.stderr[-300:]}")
    argv = [
        str(venv / "bin" / "python"),
        "-c",
        READERS,
        str(ASSETS / "good.json"),
        str(ASSETS / "signer.pem"),
    ]
    read = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert read.returncode == 0, read.stderr
    assert read.stdout.split() == [json.loads(GOOD)["verificationMaterial"]["publicKey"]["hint"]]
