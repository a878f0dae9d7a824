"""RUN.md: how to check and rerun a capsule without this kit. Runs none of it."""

from __future__ import annotations

import shlex

from packaging.utils import parse_wheel_filename

from kit.capsule.statement import Packer
from kit.core.errors import SchemaError
from kit.core.text import is_printable, printable
from kit.image.base import GUEST_UID
from kit.result.predicate import Predicate
from kit.sandbox.runtime.port import BOOTSTRAP
from kit.values.profile import Profile
from kit.values.run_spec import SUBMISSION, WORKSPACE, RunSpec

OPEN_FILES = 4096
"""Of a rerun by hand, and processes: what any machine grants. Podman would ask for more than some do."""
KIT_PROJECT = "speedrun-kit"
EXTRAS = {"docker": "docker", "nvidia-ml-py": "gpu"}
"""Projects whose wheel is packed only for an extra of the kit, and the extra."""

_HEAD = """\
# {run_id}: {title}

This capsule has everything that a rerun of this result needs, without a network. Target: validation loss
<= {target:g}; claimed: {claimed}. The folder `capsule/` is a BagIt bag (RFC 8493); below `data/` are

| folder | what | whose word |
|---|---|---|
| `run/` | the signed bundle `result.json`, `signer.pem`, the submission, the guest's output and its stamps \
| the result's |
| `image/` | the image: an OCI layout whose layers are plain tar files, with Docker's `manifest.json` \
| the result's; the three small files beside `blobs/`: the packer's |
| `images/{era}/` | what the image was built from: every package by sha256, and the digest that it must have \
| the packer's |
| `records/` | facts about the record; of smoke runs `smoke.toml` too, which is the packer's | the result's |
| `runc/` | the configuration of a contained rerun (no GPU) | the packer's |
| `shards/` | the data{data} | the result's |
{kit_row}
The result's word is what `result.json` names by sha256. {author}

With the kit: `speedrun reproduce {argument} --offline`. Without it, with tar, sha256sum, openssl and what
every shell has beside it (sed, grep, cut, cat, wc, base64, find, sort, xargs):
"""
_UNPACKED = """\
`speedrun unpack` made this text, `runc/` and the
three small files in `image/` from it; what it received in their places, and may differ, is in `received/`."""
_KIT_ROW = """\
| `kit/` | wheels of the kit and of what it needs | the packer's |
"""

_BYTES = """\
In an empty folder, with `CAPSULE` naming {source}. It ends with
`bytes: OK`.

```sh
{bring}
cd capsule
sha256sum --check --strict --quiet tagmanifest-sha256.txt manifest-sha256.txt &&
  [ "$(find data ! -type d | LC_ALL=C sort)" = "$(cut -c 67- manifest-sha256.txt)" ] &&
  echo 'bytes: OK' || echo 'bytes: NOT what the manifests list'
cd ..
```
"""

_SIGNATURE = """\
Prints `Verified OK`. The key in `signer.pem` proves who signed only if you have it, or its digest
`{key_id}`, from its owner.

```sh
dsse() {{
  sed -E 's/.*"payload":"([^"]*)".*/\\1/' "$1" | base64 -d > "$2.json"
  sed -E 's/.*"sig":"([^"]*)".*/\\1/' "$1" | base64 -d > "$2.sig"
  printf 'DSSEv1 28 %s %d ' application/vnd.in-toto+json "$(wc -c < "$2.json")" | cat - "$2.json" > "$2.pae"
  openssl dgst -sha256 -verify "$3" -signature "$2.sig" "$2.pae"
}}
dsse capsule/data/run/result.json payload capsule/data/run/signer.pem
```

From here on `payload.json` is what was signed. Is it about these files? Prints `OK` for each of three.

```sh
signed() {{
  grep -q "$2\\"}},\\"name\\":\\"$1\\"" payload.json && echo "$1: OK" || echo "$1: NOT the signed one"
}}
for f in guest.log stamps; do
  signed $f "$(sha256sum < capsule/data/run/$f | cut -c 1-64)"
done
signed submission "$(cd capsule/data/run/submission && find . -type f | sed 's|^./||' | LC_ALL=C sort |
  xargs sha256sum | sha256sum | cut -c 1-64)"
```
"""

_IMAGE = """\
The bundle names it by its digests, and the file of each digest has it. Prints `OK` for config and manifest.

```sh
for digest in {config} \\
  {manifest}; do
  grep -q "$digest" payload.json && sha256sum capsule/data/image/blobs/sha256/$digest | grep -q "^$digest " &&
    echo "image: OK" || echo "image: NOT the signed one"
done
```
"""

_PACKER = """\
Prints `packer: OK` if the key in `packer.pem` signed the list of all files and this text. It proves who
packed them only if you have the key, or its digest `{key_id}`, from its owner.

```sh
same() {{
  grep -q "$(sha256sum < capsule/$1 | cut -c 1-64)\\"}},\\"name\\":\\"$1\\"" packed.json
}}
dsse capsule/capsule.json packed capsule/packer.pem | grep -q 'Verified OK' &&
  same RUN.md && same bag-info.txt && same bagit.txt && same manifest-sha256.txt &&
  echo 'packer: OK' || echo 'packer: NOT what the key in packer.pem signed'
```
"""

_LOAD = """\
With Docker, load the image and run it; with Podman, write `podman` for `docker`:

```sh load
tar -C capsule/data/image -cf - . | docker load
```

"""

_DOCKER = """\
```sh docker
docker run --rm --network none --hostname localhost --read-only --cap-drop ALL \\
  --security-opt no-new-privileges --user {uid}:{uid} \\
  --memory {memory} --pids-limit {pids} --shm-size {shm} --ulimit nofile={files}:{files} \\
  --ulimit nproc={files}:{files}{gpus} \\
  --tmpfs /tmp:exec,nosuid,nodev,mode=1777,size={tmp} \\
  --tmpfs {workspace}:exec,nosuid,nodev,mode=1777,size={space} \\
  --mount type=bind,readonly,source="$PWD/capsule/data/run/submission",target={submission} \\
  --mount type=bind,readonly,source="$SHARDS",target={shards_target} \\
  --workdir {workspace} {env} \\
  sha256:{config} \\
  {command}
```
"""

_RUNC = """\
Or with runc alone, as root:

```sh runc
mkdir -p box/rootfs
for layer in {layers}; do
  tar -C box/rootfs -xf capsule/data/image/blobs/sha256/$layer
done
cp capsule/data/runc/config.json box/
runc run --bundle box {run_id}
```
"""

_COMPARE = """\
The first run said this. Losses of the same image on the same kind of machine agree to the last digit or
nearly so; times do not.

```sh said
grep 'val.loss' capsule/data/run/guest.log
```
"""

_KIT = """\
`kit/` holds speedrun-kit {version} ({commit}), which packed this capsule, and all that it needs, as wheels
for CPython {python} on x86-64 Linux. The run was made by version {ran} ({ran_commit}). The wheels are the
packer's word, and install programs that run without a container: use them if you trust the packer's key. No
network is used.

```sh kit
python{python} -m venv speedrun-venv
speedrun-venv/bin/pip install --no-index --find-links capsule/data/kit '{requirement}'
speedrun-venv/bin/speedrun reproduce "$CAPSULE" --offline
```
"""


def title(p: Predicate) -> str:
    """Say in one line what kind of run of which task this is, and its verdict."""
    match p.task.profile:
        case Profile.SMOKE:
            kind = "smoke run (toy task, never ranked)"
        case Profile.FULL:
            kind = "full run"
    return f"{kind} of task {p.task.id}: {p.score.verdict}"


def guide(
    predicate: Predicate,
    key_id: str,
    spec: RunSpec,
    layers: tuple[str, ...],
    with_data: bool,
    packer: Packer | None,
    wheels: tuple[str, ...] = (),
    unpacked: bool = False,
) -> bytes:
    """
    Return RUN.md.

    `spec` is the run's as its configuration has it; `layers` are digests, lowest first; `wheels` are names of
    files in `data/kit/`. `unpacked` is for a folder in which `speedrun unpack` put files of its own in the
    place of the packer's: what he signed is no longer all there. Raises `SchemaError` for arguments that a
    text of one line cannot hold.
    """
    p = predicate
    _require_plain(p, spec)
    image = p.environment.image
    loss = "no loss" if p.claims.final_val_loss is None else f"{p.claims.final_val_loss:.4f}"
    head = _HEAD.format(
        run_id=p.run.id,
        title=title(p),
        target=p.task.target_val_loss,
        claimed=loss,
        era=p.environment.era,
        data="" if with_data else " (not packed)",
        author=_UNPACKED if unpacked else "This text is the packer's word.",
        kit_row=_KIT_ROW if wheels else "",
        argument="FOLDER" if unpacked else "FILE",
    )
    config, manifest = (image.config_digest, image.manifest_digest) if image else ("", "")
    sections = [
        ("The bytes", _bytes(unpacked)),
        ("The signature", _SIGNATURE.format(key_id=key_id)),
        ("The image", _IMAGE.format(config=config, manifest=manifest)),
        *([("The packer", _PACKER.format(key_id=packer.key_id))] if packer and not unpacked else ()),
        ("The rerun", _rerun(p, spec, layers, with_data)),
        ("Compare", _COMPARE),
        *([("The kit", _kit(p, packer, wheels))] if packer and wheels else ()),
    ]
    numbered = (f"\n## {number}. {name}\n\n{text}" for number, (name, text) in enumerate(sections, 1))
    return (head + "".join(numbered)).encode("utf-8")


def _require_plain(p: Predicate, spec: RunSpec) -> None:
    """Refuse what would end a line or a block of RUN.md, or show something else than it is."""
    named = [f"{name}={value}" for name, value in spec.env]
    data = [p.inputs.data.name, *(f.name for f in p.inputs.data.files)]
    for text in (*spec.argv, *spec.folders, *named, *data, p.environment.era, *_kits(p)):
        if not text.isprintable() or "`" in text:
            raise SchemaError(
                f"RUN.md cannot hold {text[:80]!a}, which the result has in its command or names"
            )


def _kits(p: Predicate) -> tuple[str, str]:
    return p.run.kit.version, p.run.kit.commit or "no commit"


def _bytes(unpacked: bool) -> str:
    if unpacked:
        return _BYTES.format(source="the folder that holds this file", bring='ln -s "$CAPSULE" capsule')
    return _BYTES.format(source="this archive", bring='tar -xf "$CAPSULE"')


def _rerun(p: Predicate, spec: RunSpec, layers: tuple[str, ...], with_data: bool) -> str:
    text = _data(p, with_data) + _LOAD + _docker(p, spec)
    if not p.run.gpus and with_data:
        text += "\n" + _RUNC.format(layers=" ".join(layers), run_id=p.run.id)
    return text


def _data(p: Predicate, with_data: bool) -> str:
    if with_data:
        return '```sh data\nSHARDS="$PWD/capsule/data/shards"\n```\n\n'
    rows = "".join(f"{f.sha256}  {printable(f.name)}\n" for f in p.inputs.data.files)
    return (
        f"The data (`{p.inputs.data.name}`) were not packed. Put these files into one folder, check them\n"
        f"with `sha256sum --check`, and let `SHARDS` name that folder:\n\n```\n{rows}```\n\n"
    )


def _docker(p: Predicate, spec: RunSpec) -> str:
    image = p.environment.image
    argv = ["/bin/sh", "-c", BOOTSTRAP, "guest", str(SUBMISSION), str(len(spec.folders))]
    return _DOCKER.format(
        uid=GUEST_UID,
        memory=spec.limits.memory,
        pids=spec.limits.pids,
        shm=spec.limits.shm,
        files=OPEN_FILES,
        tmp=spec.limits.tmp,
        space=spec.limits.workspace,
        gpus=" --gpus all" if p.run.gpus else "",
        workspace=WORKSPACE,
        submission=SUBMISSION,
        shards_target=spec.mounts[0].target,
        env=" ".join(f"--env {_quote(f'{name}={value}')}" for name, value in spec.env),
        config=image.config_digest if image else "",
        command=" ".join([shlex.join(argv), *map(_quote, (*spec.folders, *spec.argv))]),
    )


def _quote(word: str) -> str:
    """Quote one word for a shell, on one printable line: what would not be seen as it is, by its bytes."""
    if is_printable(word):
        return shlex.quote(word)
    text = "".join(
        c if c != "\\" and is_printable(f"a{c}") else "".join(f"\\0{byte:03o}" for byte in c.encode())
        for c in word
    )
    return f'"$(printf %b {shlex.quote(text)})"'


def _kit(p: Predicate, packer: Packer, wheels: tuple[str, ...]) -> str:
    projects = {parse_wheel_filename(name)[0] for name in wheels}
    extras = ",".join(sorted(extra for project, extra in EXTRAS.items() if project in projects))
    ran, ran_commit = _kits(p)
    return _KIT.format(
        version=packer.kit.version,
        commit=packer.kit.commit or "no commit",
        python=packer.python,
        ran=ran,
        ran_commit=ran_commit,
        requirement=f"speedrun-kit[{extras}]" if extras else "speedrun-kit",
    )
