"""RUN.md: how a stranger checks and reruns a capsule without this kit. Runs none of it."""

from __future__ import annotations

import shlex

from kit.bundle.predicate import Predicate
from kit.image.base import GUEST_UID
from kit.run.runtime.port import BOOTSTRAP
from kit.run.spec import SUBMISSION, WORKSPACE, RunSpec

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

With the kit: `speedrun reproduce FILE --offline`. Without it, with tar, sha256sum and openssl:

## 1. The bytes

In an empty folder; silent if every file is what the manifests list.

```sh
tar -xf "$CAPSULE"
cd capsule
sha256sum --check --strict --quiet tagmanifest-sha256.txt
sha256sum --check --strict --quiet manifest-sha256.txt
```

## 2. The signature

Prints `Verified OK`. The key in `signer.pem` proves who signed only if you have it, or its digest
`{key_id}`, from its owner.

```sh
cd data/run
sed -E 's/.*"payload":"([^"]*)".*/\\1/' result.json | base64 -d > ../../../payload.json
sed -E 's/.*"sig":"([^"]*)".*/\\1/' result.json | base64 -d > ../../../payload.sig
cd ../../..
printf 'DSSEv1 28 %s %d ' application/vnd.in-toto+json "$(wc -c < payload.json)" | cat - payload.json > pae
openssl dgst -sha256 -verify capsule/data/run/signer.pem -signature payload.sig pae
for f in guest.log stamps; do
  grep -q "$(sha256sum < capsule/data/run/$f | cut -c 1-64)\\"}},\\"name\\":\\"$f\\"" payload.json
done
(cd capsule/data/run/submission && find . -type f | sed 's|^./||' | LC_ALL=C sort | xargs sha256sum) |
  sha256sum | cut -c 1-64 | {{ read -r tree; grep -q "$tree\\"}},\\"name\\":\\"submission\\"" payload.json; }}
```

The loop and the last command are silent, and end with 0, if log, stamps and submission are the signed ones.

## 3. The image

The bundle names it by its digests; each blob's name is its sha256, and step 1 has compared them.

```sh
for digest in {config} {manifest}; do
  grep -q "$digest" payload.json
  sha256sum capsule/data/image/blobs/sha256/$digest | grep -q "^$digest "
done
```

Load it with Docker or Podman:

```sh load
tar -C capsule/data/image -cf - . | docker load
```

## 4. The rerun

{rerun}
"""

_DOCKER = """\
With Docker (or Podman):

```sh docker
docker run --rm --network none --hostname localhost --read-only --cap-drop ALL \\
  --security-opt no-new-privileges --user {uid}:{uid} \\
  --memory {memory} --pids-limit {pids} --shm-size {shm}{gpus} \\
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
With runc, as root:

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
    rerun = _data(p, with_data) + _docker(p, spec)
    if not p.run.gpus and with_data:
        rerun += "\n" + _RUNC.format(layers=" ".join(layers), run_id=p.run.id)
    text = _HEAD.format(
        run_id=p.run.id,
        record=p.task.record,
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
    rows = "".join(f"{f.sha256}  {f.name}\n" for f in p.inputs.data.files)
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
        tmp=spec.limits.tmp,
        space=spec.limits.workspace,
        gpus=" --gpus all" if p.run.gpus else "",
        workspace=WORKSPACE,
        submission=SUBMISSION,
        shards_target=spec.mounts[0].target,
        env=" ".join(f"--env {shlex.quote(f'{name}={value}')}" for name, value in spec.env),
        config=image.config_digest if image else "",
        command=shlex.join([*argv, *spec.folders, *spec.argv]),
    )
