"""
RUN.md and config.json of a capsule as version 0.1 packed them, byte for byte. Its capsules are not signed.

What stands in such a capsule and is not this has been changed since. Nothing here may ever change: it says
what 0.1 wrote, not what this kit would write.
"""

from __future__ import annotations

import shlex

from kit.core.digest import Sha256, canonical_json, sha256_bytes
from kit.core.errors import IntegrityError
from kit.core.schema import parse_json
from kit.result.predicate import Predicate
from kit.values.run_spec import RunSpec

GUEST = 65532
OPEN_FILES = 4096
LINUX = Sha256("b3b5c4f60dffe34dcb31664c8fe489f4a63946ff30bc73c168da9e99c9c1233c")
"""Of the canonical form of `linux`: namespaces, the system calls that are denied, masked paths."""
BOOTSTRAP = """\
set -e
cp -R --no-preserve=mode -- "$1/." .
n=$2
shift 2
while [ "$n" -gt 0 ]; do mkdir -p -- "$1"; shift; n=$((n - 1)); done
exec "$@"
"""

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


def guide(p: Predicate, key_id: str, spec: RunSpec, layers: tuple[str, ...], with_data: bool) -> bytes:
    """Return RUN.md of version 0.1."""
    image = p.environment.image
    loss = "no loss" if p.claims.final_val_loss is None else f"{p.claims.final_val_loss:.4f}"
    rerun = _data(p, with_data) + _LOAD + _docker(p, spec)
    if not p.run.gpus and with_data:
        rerun += "\n" + _RUNC.format(layers=" ".join(layers), run_id=p.run.id)
    return _HEAD.format(
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
    ).encode("utf-8")


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
    return _DOCKER.format(
        uid=GUEST,
        memory=spec.limits.memory,
        pids=spec.limits.pids,
        shm=spec.limits.shm,
        files=OPEN_FILES,
        tmp=spec.limits.tmp,
        space=spec.limits.workspace,
        gpus=" --gpus all" if p.run.gpus else "",
        workspace="/workspace",
        submission="/input/submission",
        shards_target=spec.mounts[0].target,
        env=" ".join(f"--env {shlex.quote(f'{name}={value}')}" for name, value in spec.env),
        config=image.config_digest if image else "",
        command=shlex.join(_args(spec)),
    )


def _args(spec: RunSpec) -> list[str]:
    start = ["/bin/sh", "-c", BOOTSTRAP, "guest", "/input/submission", str(len(spec.folders))]
    return [*start, *spec.folders, *spec.argv]


def is_config(data: bytes, spec: RunSpec) -> bool:
    """Tell whether `data` is config.json of version 0.1 for this guest."""
    try:
        linux = parse_json(data, "config.json")["linux"]
        return sha256_bytes(canonical_json(linux)) == LINUX and data == _config(spec, linux)
    except (IntegrityError, KeyError, TypeError):
        return False


def _config(spec: RunSpec, linux: object) -> bytes:
    kinds = ("bounding", "effective", "permitted", "inheritable", "ambient")
    limits = {
        "RLIMIT_CORE": 0,
        "RLIMIT_NOFILE": min(spec.limits.open_files, OPEN_FILES),
        "RLIMIT_NPROC": spec.limits.pids,
    }
    return canonical_json(
        {
            "ociVersion": "1.0.2",
            "process": {
                "terminal": False,
                "user": {"uid": GUEST, "gid": GUEST, "umask": 0o022},
                "args": _args(spec),
                "env": [f"{name}={value}" for name, value in spec.env],
                "cwd": "/workspace",
                "capabilities": {kind: [] for kind in kinds},
                "rlimits": [{"type": k, "hard": v, "soft": v} for k, v in sorted(limits.items())],
                "noNewPrivileges": True,
                "oomScoreAdj": 500,
            },
            "root": {"path": "rootfs", "readonly": True},
            "hostname": "localhost",
            "mounts": _mounts(spec),
            "linux": linux,
        }
    )


def _mounts(spec: RunSpec) -> list[dict[str, object]]:
    def mount(target: str, kind: str, source: str, *options: str) -> dict[str, object]:
        return {"destination": target, "type": kind, "source": source, "options": list(options)}

    def tmpfs(
        target: str, size: int, mode: str, *options: str, owner: tuple[str, ...] = ()
    ) -> dict[str, object]:
        return mount(target, "tmpfs", "tmpfs", "nosuid", *options, f"mode={mode}", f"size={size}", *owner)

    def bind(source: str, target: str) -> dict[str, object]:
        return mount(target, "bind", source, "rbind", "rprivate", "ro", "nosuid", "nodev")

    own, limits = (f"uid={GUEST}", f"gid={GUEST}"), spec.limits
    pts = ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620")
    return [
        mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
        tmpfs("/dev", 1 << 16, "755", "strictatime"),
        mount("/dev/pts", "devpts", "devpts", *pts),
        tmpfs("/dev/shm", limits.shm, "1777", "nodev", "noexec"),  # noqa: S108
        mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
        tmpfs("/tmp", limits.tmp, "1777", "exec", "nodev"),  # noqa: S108
        tmpfs("/input", 1 << 16, "755", "nodev", "noexec"),
        tmpfs("/workspace", limits.workspace, "700", "exec", "nodev", owner=own),
        bind(str(spec.submission), "/input/submission"),
        *(bind(str(m.source), str(m.target)) for m in spec.mounts),
    ]
