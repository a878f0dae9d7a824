"""Write RUN.md: how to check and rerun a capsule without this kit."""

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
"""Limit of open files and of processes in a rerun by hand. Some machines do not grant Podman's default."""
KIT_PROJECT = "speedrun-kit"
EXTRAS = {"docker": "docker", "nvidia-ml-py": "gpu"}
"""Projects whose wheel is packed only for an extra of the kit, and the extra."""

_HEAD = """\
# {run_id}: {title}

This capsule has everything that an offline rerun of this result needs. Target: validation loss
<= {target:g}; claimed: {claimed}. The directory `capsule/` is a BagIt bag (RFC 8493). `data/` contains:

| directory | content | vouched for by |
|---|---|---|
| `run/` | the signed bundle `result.json`, `signer.pem`, the submission, the guest's output with timestamps \
| the result |
| `image/` | the image: an OCI layout whose layers are plain tar files, with Docker's `manifest.json` \
| the result; the packer for the three small files next to `blobs/` |
| `images/{era}/` | the sources of the image: every package by sha256, and the expected image digest \
| the packer |
| `records/` | facts about the record; in smoke runs also `smoke.toml` \
| the result; the packer for `smoke.toml` |
| `runc/` | the configuration of a rerun with runc (no GPU) | the packer |
| `shards/` | the data{data} | the result |
{kit_row}
The signed `result.json` names the files of the result by sha256. {author}

With the kit: `speedrun reproduce {argument} --offline`. Without the kit, follow the steps below. They use
tar, sha256sum, openssl and common tools (sed, grep, cut, cat, wc, base64, find, sort, xargs).
"""
_UNPACKED = """\
`speedrun unpack` made this text, `runc/` and the
three small files in `image/` from it. The files that it received instead are in `received/`; do not use
them."""
_KIT_ROW = """\
| `kit/` | wheels of the kit and its dependencies | the packer |
"""

_BYTES = """\
Run this in an empty directory, with `CAPSULE` set to the path of {source}. It prints
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
This prints `Verified OK`. The key in `signer.pem` proves who signed only if its owner gave you the key, or
its digest `{key_id}`, directly.

```sh
dsse() {{
  sed -E 's/.*"payload":"([^"]*)".*/\\1/' "$1" | base64 -d > "$2.json"
  sed -E 's/.*"sig":"([^"]*)".*/\\1/' "$1" | base64 -d > "$2.sig"
  printf 'DSSEv1 28 %s %d ' application/vnd.in-toto+json "$(wc -c < "$2.json")" | cat - "$2.json" > "$2.pae"
  openssl dgst -sha256 -verify "$3" -signature "$2.sig" "$2.pae"
}}
dsse capsule/data/run/result.json payload capsule/data/run/signer.pem
```

Now `payload.json` is the signed content. Check that it names these files. This prints `OK` three times.

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
The bundle names the image by digest. This prints `OK` for config and manifest.

```sh
for digest in {config} \\
  {manifest}; do
  grep -q "$digest" payload.json && sha256sum capsule/data/image/blobs/sha256/$digest | grep -q "^$digest " &&
    echo "image: OK" || echo "image: NOT the signed one"
done
```
"""

_PACKER = """\
This prints `packer: OK` if the key in `packer.pem` signed the list of all files and this text. It proves who
packed them only if the owner gave you the key, or its digest `{key_id}`, directly.

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
Load the image into Docker and run it. With Podman, replace `docker` with `podman`:

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
Or use only runc, as root:

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
This prints the losses of the original run. On the same kind of machine, your losses agree with them to the
last digit or nearly so. Times differ.

```sh said
grep 'val.loss' capsule/data/run/guest.log
```
"""

_KIT = """\
`kit/` has wheels of speedrun-kit {version} ({commit}), which packed this capsule, and of its dependencies,
for CPython {python} on x86-64 Linux. Version {ran} ({ran_commit}) made the run. Only the packer vouches for
the wheels, and their programs run outside a container: install them only if you trust the packer's key. This
uses no network.

```sh kit
python{python} -m venv speedrun-venv
speedrun-venv/bin/pip install --no-index --find-links capsule/data/kit '{requirement}'
speedrun-venv/bin/speedrun reproduce "$CAPSULE" --offline
```
"""


def title(p: Predicate) -> str:
    """Return one line with the kind of run, the task and the verdict."""
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

    `spec` is the RunSpec of the run; `layers` are digests, lowest first; `wheels` are names of files in
    `data/kit/`. `unpacked` is for a directory in which `speedrun unpack` replaced files of the packer, so
    the packer's signature cannot be checked there. Raises `SchemaError` for values that do not fit on one
    line.
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
        author=_UNPACKED if unpacked else "Only the packer vouches for this text.",
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
    """Refuse text that would break a line or a block of RUN.md, or that is unprintable."""
    named = [f"{name}={value}" for name, value in spec.env]
    data = [p.inputs.data.name, *(f.name for f in p.inputs.data.files)]
    for text in (*spec.argv, *spec.folders, *named, *data, p.environment.era, *_kits(p)):
        if not text.isprintable() or "`" in text:
            raise SchemaError(
                f"cannot write RUN.md: unprintable text or a backtick in the command or a name: {text[:80]!a}"
            )


def _kits(p: Predicate) -> tuple[str, str]:
    return p.run.kit.version, p.run.kit.commit or "no commit"


def _bytes(unpacked: bool) -> str:
    if unpacked:
        return _BYTES.format(source="the directory with this file", bring='ln -s "$CAPSULE" capsule')
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
        f"The data (`{p.inputs.data.name}`) were not packed. Put these files into one directory, check them\n"
        f"with `sha256sum --check`, and set `SHARDS` to the path of that directory:\n\n```\n{rows}```\n\n"
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
    """Quote one word for a shell on one printable line; escape unprintable characters as bytes."""
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
