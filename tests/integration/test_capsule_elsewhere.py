"""A real capsule elsewhere: checked and rerun by hand as RUN.md says, and reproduced without a network."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import PATIENT, REPOSITORY, SPEEDRUN
from own_podman import BINARY as PODMAN
from own_podman import own_podman

from kit.capsule import bag
from kit.capsule.statement import read_signed, sign_capsule
from kit.capsule.write import PayloadPart, part_of_bytes, write_capsule
from kit.core.store import no_progress
from kit.image.entry import Extent, chunks
from kit.result import keys
from kit.values.software import Kit

pytestmark = [pytest.mark.container, pytest.mark.network]


@pytest.fixture(scope="module")
def packed(cpu_image, tmp_path_factory):
    """A run of the reference trainer, short of its target to be quick, and its capsule."""
    base = tmp_path_factory.mktemp("capsule")
    own = ["--keys", str(base / "keys")]
    submission = base / "submission"
    submission.mkdir()
    shutil.copyfile(REPOSITORY / "kit" / "guest" / "train_reference.py", submission / "train_gpt2.py")
    smoke = tomllib.loads((REPOSITORY / "records" / "smoke.toml").read_text())["guest"]["args"]
    short = [*smoke[4:], "--steps", "20", "--val-every", "5"]
    (submission / "run.toml").write_text(f"args = {json.dumps(short)}\n")
    run = ["eval", "--record", "3", "--profile", "smoke", "--submission", str(submission)]
    command = [*SPEEDRUN, *run, "--out", str(base / "runs"), *PATIENT, *own]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1500)
    assert done.returncode == 1, done.stderr  # missed
    bundle = Path(done.stdout.strip())
    file = base / "result.capsule.tar"
    speedrun("pack", str(bundle), "--out", str(file), *own)
    yield file, bundle, own
    shutil.rmtree(base)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """Another folder tree with the kit in it, and nothing that this one has made."""
    elsewhere = tmp_path_factory.mktemp("stranger") / "speedrun-kit"
    for part in ("kit", "images", "records", "hints"):
        shutil.copytree(REPOSITORY / part, elsewhere / part, ignore=shutil.ignore_patterns("__pycache__"))
    where = [sys.executable, "-c", "import kit; print(kit.__file__)"]
    found = subprocess.run(where, cwd=elsewhere, capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()).is_relative_to(elsewhere)
    return elsewhere


def speedrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*SPEEDRUN, *arguments], capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    return done


def blocks(capsule: Path, kind: str) -> str:
    """The commands of one kind in RUN.md."""
    text = subprocess.run(
        ["tar", "-xOf", str(capsule), "capsule/RUN.md"], capture_output=True, text=True, check=True
    ).stdout
    return "".join(re.findall(rf"^```sh{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def by_hand(script: str, where: Path, capsule: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run commands with nothing of the kit on the PATH, and without a network."""
    return subprocess.run(
        ["/usr/bin/unshare", "--net", "/bin/sh", "-c", script], cwd=where, capture_output=True, text=True,
        check=False, timeout=1500,
        env={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "CAPSULE": str(capsule), **env},
    )  # fmt: skip


def losses(output: str) -> list[str]:
    """The validation lines without their times."""
    found = [line.split(" train_time")[0] for line in output.splitlines() if "val_loss:" in line]
    assert len(found) in (5, 10)
    return found


def test_the_same_run_packs_into_the_same_bytes(packed, tmp_path):
    file, bundle, own = packed
    again = tmp_path / "again.tar"
    speedrun("pack", str(bundle), "--out", str(again), *own)
    assert subprocess.run(["cmp", str(file), str(again)], check=False).returncode == 0
    again.unlink()


@pytest.fixture(scope="module")
def unpacked(packed, tmp_path_factory):
    """The capsule, unpacked once by tar."""
    folder = tmp_path_factory.mktemp("unpacked")
    subprocess.run(["tar", "-xf", str(packed[0])], cwd=folder, check=True)
    yield folder / "capsule"
    shutil.rmtree(folder)


def test_its_commands_check_bytes_signature_and_image(packed, unpacked):
    """tests/unit/capsule/test_run_md.py shows which programs they need and what they refuse."""
    script = blocks(packed[0], "").replace('tar -xf "$CAPSULE"\n', "", 1)
    done = by_hand(script, unpacked.parent, packed[0])
    checked = ["guest.log: OK", "stamps: OK", "submission: OK", "image: OK", "image: OK", "packer: OK"]
    said = ["bytes: OK", "Verified OK", *checked]
    assert (done.returncode, done.stdout.splitlines()) == (0, said), done.stderr


def test_runc_alone_reruns_it_and_prints_the_same_losses(packed, unpacked, tmp_path):
    file, bundle, _ = packed
    (tmp_path / "capsule").symlink_to(unpacked)
    done = by_hand(blocks(file, " runc"), tmp_path, file)
    assert done.returncode == 0, done.stderr
    assert losses(done.stdout) == losses((bundle.parent / "guest.log").read_text())
    shutil.rmtree(tmp_path / "box")


def remade(capsule: Path, folder: Path, signer: keys.Signer | None) -> Path:
    """The capsule with a container that owns the machine; manifests fit, the signature only with a key."""
    tags, parts = {}, {}
    with tarfile.open(capsule) as tar:
        for member in tar:
            name, epoch = member.name.removeprefix("capsule/"), int(member.mtime)
            if member.isfile() and name.startswith("data/"):
                parts[name] = PayloadPart(Extent(capsule, member.offset_data, member.size), member.size, "")
            elif member.isfile():
                tags[name] = tar.extractfile(member).read()
    listed = bag.parse_manifest(tags[bag.MANIFEST], bag.MANIFEST)
    parts = {name: replace(part, sha256=listed[name]) for name, part in parts.items()}
    claims = read_signed(tags, keys.Trusted(())).claims
    config = "data/runc/config.json"
    document = json.loads(b"".join(chunks(parts[config].source)))
    document["process"]["user"] = {"uid": 0, "gid": 0}
    document["mounts"].append({"destination": "/mnt", "type": "bind", "source": "/", "options": ["rbind"]})
    parts[config] = part_of_bytes(json.dumps(document).encode())
    tags[bag.RUN_MD] = tags[bag.RUN_MD].replace(
        b"## 1. ", b"## 0. Run this\n\n```sh\nfalse\n```\n\n## 1. ", 1
    )
    size = sum(part.size for part in parts.values())
    info = tags[bag.INFO].decode().splitlines()
    tags[bag.INFO] = "".join(
        f"{line}\n" for line in [*info[:3], f"Payload-Oxum: {size}.{len(parts)}"]
    ).encode()
    tags[bag.MANIFEST] = bag.manifest({name: part.sha256 for name, part in parts.items()})
    if signer is not None:
        packer = replace(claims.packer, key_id=signer.key_id, kit=Kit("9", None))
        tags |= sign_capsule(replace(claims, packer=packer), tags, signer)
    tags = {name: tags[name] for name in (bag.RUN_MD, bag.INFO, *bag.SIGNED)}
    file = folder / "remade.tar"
    with file.open("wb") as sink:
        write_capsule(parts, tags, epoch, sink, no_progress, "")
    return file


def test_a_changed_capsule_is_refused(packed, tmp_path):
    file, _, own = packed
    command = [*SPEEDRUN, "unpack", str(remade(file, tmp_path, None)), "--to", str(tmp_path / "new"), *own]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 4 and "RUN.md differs from the file that the packer signed" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["remade.tar"]
    (tmp_path / "remade.tar").unlink()


def test_by_hand_in_runc_what_unpack_leaves_of_a_changed_capsule_is_safe(packed, tmp_path):
    """A stranger signed a container that owns the machine, and claims that another kit made it."""
    file, bundle, own = packed
    archive, folder = remade(file, tmp_path, keys.throwaway()), tmp_path / "capsule"
    command = [*SPEEDRUN, "unpack", str(archive), "--to", str(folder), *own]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    archive.unlink()
    assert done.returncode == 1 and "mounts '/' at '/mnt', ['rbind']" in done.stderr
    assert "smoke run (toy task, never ranked) of task 3: missed" in done.stderr
    text = (folder / "RUN.md").read_text()
    where = tmp_path / "empty"
    where.mkdir()
    script = "".join(re.findall(r"^```sh(?: runc)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    done = by_hand(script, where, folder)
    assert done.returncode == 0, done.stderr
    assert "NOT" not in done.stdout and "bytes: OK" in done.stdout and "Verified OK" in done.stdout
    assert losses(done.stdout) == losses((bundle.parent / "guest.log").read_text())
    shutil.rmtree(tmp_path)


def test_the_kit_in_a_capsule_installs_without_a_network_and_opens_that_capsule(packed, tmp_path):
    _, bundle, own = packed
    file = tmp_path / "with-kit.tar"
    speedrun("pack", str(bundle), "--out", str(file), "--with-kit", *own)
    subprocess.run(["tar", "-xf", str(file)], cwd=tmp_path, check=True)
    install = blocks(file, " kit").splitlines()[:2]
    assert "pip install --no-index --find-links capsule/data/kit" in install[1]
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    script = "\n".join(["set -e", install[0].replace(python, sys.executable, 1), install[1]])
    done = by_hand(script, tmp_path, file)
    assert done.returncode == 0, done.stderr
    kit = tmp_path / "speedrun-venv" / "bin" / "speedrun"
    opened = by_hand(f'"{kit}" unpack "$CAPSULE" --to new {" ".join(own)}', tmp_path, file)
    assert opened.returncode == 0 and "warning" not in opened.stderr, opened.stderr
    assert (tmp_path / "new" / "RUN.md").read_bytes() == (tmp_path / "capsule" / "RUN.md").read_bytes()
    shutil.rmtree(tmp_path)


def reproduced(stranger: Path, packed, base: Path, *more: str, **env: str) -> Path:
    """Reproduce the capsule from the other tree without a network; return the counter-bundle."""
    file, bundle, _ = packed
    elsewhere = ["--store", str(base / "store"), "--keys", str(base / "keys"), "--out", str(base / "runs")]
    kit = ["unshare", "--net", *SPEEDRUN]
    command = [*kit, "reproduce", str(file), "--offline", "--json", *elsewhere, *more]
    done = subprocess.run(
        command, cwd=stranger, capture_output=True, text=True, check=False, timeout=1500,
        env={**os.environ, **env},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["reproduces"]["agreement"] == "reproduced"
    assert report["reproduces"]["loss_difference"] == 0
    assert report["same_key"] is False
    counter = Path(report["bundle"])
    named = payload(counter)["predicate"]["reproduces"]
    assert named["bundle_sha256"] == hashlib.sha256(bundle.read_bytes()).hexdigest()
    assert named["run_id"] == bundle.parent.name
    assert named["key_id"] == json.loads(bundle.read_bytes())["verificationMaterial"]["publicKey"]["hint"]
    assert list((base / "store" / "capsules").iterdir()) == []
    assert speedrun("bundle", "verify", str(counter), "--keys", str(base / "keys")).stdout
    shutil.rmtree(base / "store")
    return counter


def payload(bundle: Path) -> dict:
    return json.loads(base64.b64decode(json.loads(bundle.read_bytes())["dsseEnvelope"]["payload"]))


def runtime_of(bundle: Path) -> str:
    return payload(bundle)["predicate"]["environment"]["runtime"]["name"]


def test_another_tree_reproduces_it_in_runc_without_network_store_or_its_key(packed, stranger, tmp_path):
    assert runtime_of(reproduced(stranger, packed, tmp_path)) == "runc"


def test_another_tree_reproduces_it_in_docker_without_network_store_or_its_key(
    packed, stranger, dockerd, tmp_path
):
    more = ("--runtime", "docker")
    assert runtime_of(reproduced(stranger, packed, tmp_path, *more, DOCKER_HOST=dockerd.url)) == "docker"


def test_docker_loads_and_reruns_it_by_hand(packed, unpacked, dockerd, tmp_path):
    file, bundle, _ = packed
    (tmp_path / "capsule").symlink_to(unpacked)
    script = "".join(blocks(file, kind) for kind in (" load", " data", " docker", " said"))
    done = by_hand(script, tmp_path, file, DOCKER_HOST=dockerd.url)
    assert done.returncode == 0, done.stderr
    rerun, said = done.stdout.split("Loaded image", 1)[1], (bundle.parent / "guest.log").read_text()
    assert losses(rerun) == 2 * losses(said)


def test_podman_loads_and_reruns_it_by_hand(packed, unpacked, tmp_path):
    if PODMAN is None or os.geteuid() != 0:
        pytest.skip("needs podman, as root")
    file, bundle, _ = packed
    (tmp_path / "capsule").symlink_to(unpacked)
    script = "".join(blocks(file, kind) for kind in (" load", " data", " docker"))
    with own_podman() as env:
        done = by_hand(re.sub(r"\bdocker (load|run)", r"podman \1", script), tmp_path, file, **env)
    assert done.returncode == 0, done.stderr
    assert losses(done.stdout) == losses((bundle.parent / "guest.log").read_text())
