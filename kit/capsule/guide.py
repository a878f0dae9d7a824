"""RUN.md: how a stranger checks and reruns a capsule without this kit. Runs none of it."""

from __future__ import annotations

import shlex

from kit.core.text import is_printable, printable
from kit.image.base import GUEST_UID
from kit.result.predicate import Predicate
from kit.sandbox.runtime.port import BOOTSTRAP
from kit.values.run_spec import SUBMISSION, WORKSPACE, RunSpec

OPEN_FILES = 4096
"""Of a rerun by hand, and processes: what any machine grants. Podman would ask for more than some do."""

_HEAD = """\
# {run_id}: record {record}, {verdict}

Everything that a rerun of this result needs, without a network. Target: validation loss <= {target:g};
claimed: {claimed}. The folder `capsule/` is a BagIt bag (RFC 8493); below `data/` are

| folder | what |
|---|---|
| `run/` | the signed bundle `result.json`, `signer.pem`, the submission, the guest's output and its stamps |
| `image/` | the image: an OCI layout whose layers are plain tar files, with Docker's `manifest.json` |
| `images/{era}/` | what the image was built from: every package by sha256, and the digest that it must have |
| `records/` | the kit's facts about the record |
| `runc/` | the configuration of a contained rerun (no GPU) |
| `shards/` | the data{data} |

With the kit: `speedrun reproduce FILE --offline`. Without it, with tar, sha256sum, openssl and what every
shell has beside it (sed, grep, cut, cat, wc, base64, find, sort, xargs):

## 1. The bytes

In an empty folder, with `CAPSULE` naming this archive. It ends with `bytes: OK`.

```sh
tar -xf "$CAPSULE"
cd capsule
sha256sum --check --strict --quiet tagmanifest-sha256.txt manifest-sha256.txt &&
  [ "$(find data ! -type d | LC_ALL=C sort)" = "$(cut -c 67- manifest-sha256.txt)" ] &&
  echo 'bytes: OK' || echo 'bytes: NOT what the manifests list'
cd ..
```

## 2. The signature

Prints `Verified OK`. The key in `signer.pem` proves who signed only if you have it, or its digest
`{key_id}`, from its owner.

```sh
sed -E 's/.*"payload":"([^"]*)".*/\\1/' capsule/data/run/result.json | base64 -d > payload.json
sed -E 's/.*"sig":"([^"]*)".*/\\1/' capsule/data/run/result.json | base64 -d > payload.sig
printf 'DSSEv1 28 %s %d ' application/vnd.in-toto+json "$(wc -c < payload.json)" | cat - payload.json > pae
openssl dgst -sha256 -verify capsule/data/run/signer.pem -signature payload.sig pae
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

## 3. The image

The bundle names it by its digests, and the file of each digest has it. Prints `OK` for config and manifest.

```sh
for digest in {config} \\
  {manifest}; do
  grep -q "$digest" payload.json && sha256sum capsule/data/image/blobs/sha256/$digest | grep -q "^$digest " &&
    echo "image: OK" || echo "image: NOT the signed one"
done
```

## 4. The rerun

{rerun}
## 5. Compare

The first run said this. Losses of the same image on the same kind of machine agree to the last digit or
nearly so; times do not.

```sh said
grep 'val.loss' capsule/data/run/guest.log
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


def guide(
    predicate: Predicate, key_id: str, spec: RunSpec, layers: tuple[str, ...], with_data: bool
) -> bytes:
    """Return RUN.md. `spec` is the run's as its configuration has it; `layers` are digests, lowest first."""
    p = predicate
    image = p.environment.image
    loss = "no loss" if p.claims.final_val_loss is None else f"{p.claims.final_val_loss:.4f}"
    rerun = _data(p, with_data) + _LOAD + _docker(p, spec)
    if not p.run.gpus and with_data:
        rerun += "\n" + _RUNC.format(layers=" ".join(layers), run_id=p.run.id)
    text = _HEAD.format(
        run_id=p.run.id,
        record=p.task.id,
        verdict=p.score.verdict,
        target=p.task.target_val_loss,
        claimed=loss,
        era=p.environment.era,
        data="" if with_data else " (not packed)",
        key_id=key_id,
        config=image.config_digest if image else "",
        manifest=image.manifest_digest if image else "",
        rerun=rerun,
    )
    return text.encode("utf-8")


def _data(p: Predicate, with_data: bool) -> str:
    if with_data:
        return '```sh data\nSHARDS="$PWD/capsule/data/shards"\n```\n\n'
    rows = "".join(f"{f.sha256}  {printable(f.name)}\n" for f in p.inputs.data.files)
    return (
        f"The data ({p.inputs.data.name}) were not packed. Put these files into one folder, check them with\n"
        f"`sha256sum --check`, and let `SHARDS` name that folder:\n\n```\n{rows}```\n\n"
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
