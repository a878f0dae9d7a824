"""A Slurm cluster of the tests' own: munged, slurmctld and slurmd of one node, as root, on the loopback."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from free_ports import free_ports

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")
MISSING = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
NODE = "node1"
WAIT_S = 300.0
CONFIG = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket
CredType=cred/munge
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdTimeout=600
SlurmctldTimeout=600
KillWait=600
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000 State=UNKNOWN
PartitionName=all Nodes={node} Default=YES MaxTime=INFINITE State=UP
"""


@dataclass
class OwnSlurm:
    """The daemons of the cluster, and the environment in which its commands reach it."""

    root: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        """The environment of Slurm's commands."""
        return {**os.environ, "PATH": PATH, "SLURM_CONF": str(self.root / "slurm.conf")}

    def run(self, *argv: str, check: bool = True) -> str:
        """Run a command of Slurm and return its stdout."""
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, check=False, timeout=WAIT_S)
        assert done.returncode == 0 or not check, f"{argv}: {done.stderr}"
        return done.stdout

    def start(self, name: str, *argv: str) -> None:
        """Start a daemon in the foreground; its output goes to a file."""
        with (self.root / f"{name}.out").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [shutil.which(name, path=PATH) or name, *argv],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self, name: str, kill: bool = False) -> None:
        """End a daemon."""
        process = self.processes.pop(name)
        process.kill() if kill else process.terminate()
        process.wait(timeout=WAIT_S)

    def start_controller(self) -> None:
        """Start the controller and wait until it answers."""
        self.start("slurmctld", "-D")
        self.until(lambda: "UP" in self.run("scontrol", "ping", check=False))

    def until(self, holds: object, what: str = "") -> None:
        """Wait until a function returns true."""
        deadline = time.monotonic() + WAIT_S
        while not holds():  # type: ignore[operator]
            assert time.monotonic() < deadline, f"{what}\n{self.logs()}"
            time.sleep(0.2)

    def logs(self) -> str:
        """Return the ends of the daemons' logs."""
        found = sorted([*self.root.glob("*.log"), *self.root.glob("*.out")])
        return "\n".join(f"{p.name}:\n{p.read_text(errors='replace')[-2000:]}" for p in found)


@contextlib.contextmanager
def own_slurm(root: Path, cpus: int = 2, more: str = "") -> Iterator[OwnSlurm]:
    """
    Give a cluster of one node that is idle; everything that it writes is in `root`.

    `more` are further lines of its slurm.conf.
    """
    key = root / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    root.chmod(0o755)
    for folder in ("state", "spool"):
        (root / folder).mkdir()
    controller_port, node_port = free_ports(2)
    config = CONFIG.format(
        host=socket.gethostname().partition(".")[0],
        node=NODE,
        root=root,
        cpus=cpus,
        controller_port=controller_port,
        node_port=node_port,
    )
    (root / "slurm.conf").write_text(config + more)
    slurm = OwnSlurm(root)
    try:
        slurm.start(
            "munged",
            "--foreground",
            f"--key-file={key}",
            f"--socket={root}/munge.socket",
            f"--pid-file={root}/munged.pid",
            f"--log-file={root}/munged.log",
            f"--seed-file={root}/munged.seed",
            "--force",
        )
        slurm.until((root / "munge.socket").exists, "munged did not start")
        slurm.start_controller()
        slurm.start("slurmd", "-D", "-N", NODE)
        slurm.until(lambda: "idle" in slurm.run("sinfo", "-h", "-o", "%T", check=False), "no idle node")
        yield slurm
    finally:
        # jobs outlive the daemons that are killed below
        with contextlib.suppress(AssertionError, OSError, subprocess.TimeoutExpired):
            slurm.run("scancel", "--full", "--partition=all")
            slurm.until(lambda: not slurm.run("squeue", "-h"), "jobs that do not end")
        for name in ("slurmd", "slurmctld", "munged"):
            if name in slurm.processes:
                slurm.stop(name, kill=True)
