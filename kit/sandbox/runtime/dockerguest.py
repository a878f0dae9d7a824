"""
One guest in a Docker or Podman container: its pipes, its exit and its resource usage.

Three threads serve it. One splits the engine's frames into two pipes. One waits for the exit code. One
samples the control group, which the engine removes with the container, and pings the engine.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
from typing import NoReturn

from kit.core.errors import EngineSilent, KitError, RunError
from kit.sandbox import cgroup, processes
from kit.sandbox.cgroup import Cgroup
from kit.sandbox.engine import PATIENCE_S, Container, Engine, frames
from kit.sandbox.runtime.lease import ContainerLease
from kit.values.run_result import Enforcement, Usage

SAMPLE_S = 0.2
SAMPLES_PER_PING = 25
MISSES = 3
"""Failed pings in a row after which the engine counts as hung: about 30 s."""
DROP_AFTER_MS = 100
DRAIN_S = 10.0
"""Seconds to wait for the last output after the exit code."""


class DockerGuest:
    """See `kit.sandbox.runtime.port.Guest`."""

    def __init__(
        self, engine: Engine, container: str, container_lease: ContainerLease, enforcement: Enforcement
    ) -> None:
        self.enforcement = enforcement
        self.stdout, self._out = os.pipe()
        self.stderr, self._err = os.pipe()
        for pipe in (self._out, self._err):
            os.set_blocking(pipe, False)
        self._engine, self._container, self._lease = engine, container, container_lease
        self._stream: socket.socket | None = None
        self._pidfd: int | None = None
        self._namespace: processes.Namespace | None = None
        self._cgroup: Cgroup | None = None
        self._last_usage = Usage()
        self._exit: int | None = None
        self._lost = ""
        self._ending = self._dropping = False
        self._loss_raised = False
        self._stop = threading.Event()
        self._reader = threading.Thread(target=self._read, name="guest-output", daemon=True)

    def start(self, starting: Engine) -> None:
        """Attach to the container's output, then start it. Raises what the engine raises."""
        self._stream = self._engine.attach(self._container)
        self._reader.start()
        starting.start(self._container)
        self._learn_init()
        for work, patience_s in ((self._await, None), (self._pulse, PATIENCE_S)):
            engine = Engine(self._engine.url, patience_s)
            threading.Thread(target=work, args=(engine,), name=work.__name__, daemon=True).start()

    def _learn_init(self) -> None:
        state = self._engine.inspect(self._container)
        if state is None or not state.pid:
            return
        pidfd = None
        with contextlib.suppress(OSError):
            pidfd = os.pidfd_open(state.pid)
        # the engine's pid may belong to another PID namespace: use it only if /proc confirms it
        if not processes.is_in_container(self._container, state.pid):
            if pidfd is not None:
                os.close(pidfd)
            return
        self._pidfd = pidfd
        self._cgroup = cgroup.cgroup_of(state.pid)
        self._sample()
        self._namespace = processes.hold_namespace(state.pid)

    def _read(self) -> None:
        assert self._stream  # noqa: S101 - opened before the thread starts
        pipes = {1: self._out, 2: self._err}
        try:
            for kind, data in frames(self._stream):
                self._pass_on(pipes[kind], data)
        except OSError:
            pass  # the reader has closed its end
        finally:
            for pipe in pipes.values():
                os.close(pipe)

    def _pass_on(self, pipe: int, data: bytes) -> None:
        """
        Write to a pipe and wait for its reader; once the guest is being killed, drop unread output.

        Docker holds its lock on an ended container until its output is read: a request about the container
        before that would block for ever.
        """
        poller = select.poll()
        poller.register(pipe, select.POLLOUT)
        while data:
            if poller.poll(0 if self._dropping else DROP_AFTER_MS):
                data = data[os.write(pipe, data) :]
            elif self._ending:
                self._dropping = True
                return

    def _await(self, engine: Engine) -> None:
        try:
            code = engine.wait(self._container)
        except KitError as e:
            self._note_loss(e)
        else:
            self._reader.join(DRAIN_S)
            self._exit = code
        finally:
            engine.close()

    def _pulse(self, engine: Engine) -> None:
        misses = beats = 0
        while not self._stop.wait(SAMPLE_S) and not self._lost:
            self._sample()
            beats += 1
            if beats % SAMPLES_PER_PING:
                continue
            try:
                engine.ping()
                misses = 0
            except KitError as e:
                misses += 1
                if misses == MISSES:
                    self._note_loss(e)
        engine.close()

    def _sample(self) -> None:
        now = self._cgroup.usage() if self._cgroup else Usage()
        self._last_usage = Usage(
            now.peak_memory if now.peak_memory is not None else self._last_usage.peak_memory,
            now.oom_kills if now.oom_kills is not None else self._last_usage.oom_kills,
        )

    def _note_loss(self, e: KitError) -> None:
        self._lost = self._lost or e.message

    def poll(self) -> int | None:
        """See `Guest.poll`. Raises `EngineSilent` if the engine failed before it returned the exit code."""
        if self._exit is None and self._lost:
            self._raise_lost()
        return self._exit

    def _raise_lost(self, left: list[int] | None = None) -> NoReturn:
        self._loss_raised = True
        still = "; still running: " + ", ".join(map(processes.describe, left)) if left else ""
        raise EngineSilent(f"the container engine failed: {self._lost}{still}", "speedrun doctor --fix")

    def terminate(self) -> None:
        """See `Guest.terminate`."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """See `Guest.kill`: send signals directly if permitted, else through the engine."""
        self._ending = True
        self._sample()
        self._signal(signal.SIGKILL)
        processes.kill_all(processes.pids_in_container(self._container))

    def _signal(self, number: signal.Signals) -> None:
        """Signal the guest's first process; its death ends all others in its PID namespace."""
        if self._pidfd is not None:
            with contextlib.suppress(PermissionError):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, number)
                return
        if self._exit is None and not self._lost:
            try:
                self._engine.signal(self._container, number.name)
            except KitError as e:
                self._note_loss(e)

    def remains(self) -> tuple[str, ...]:
        """See `Guest.remains`: processes in /proc, and the container while it is running."""
        left = set(processes.pids_in_container(self._container))
        if self._namespace:
            left |= set(self._namespace.members())
        named = [processes.describe(pid) for pid in sorted(left)]
        state = self._inspect() if self._exit is None else None
        if state is not None and state.running:
            named.append(f"container {self._container[:12]}")
        return tuple(named)

    def _inspect(self) -> Container | None:
        if self._lost:
            return None
        try:
            return self._engine.inspect(self._container)
        except KitError as e:
            self._note_loss(e)
            return None

    def usage(self) -> Usage:
        """See `Guest.usage`: the last sample, at most `SAMPLE_S` old, and the engine's OOM flag."""
        state = self._inspect()
        if state is not None and state.oom_killed:
            return Usage(self._last_usage.peak_memory, max(1, self._last_usage.oom_kills or 0))
        return self._last_usage

    def close(self) -> None:
        """
        See `Guest.close`.

        Raises `EngineSilent` if the engine failed and `poll` has not reported it, or if guest processes of
        another user remain, which only the engine can kill.
        """
        self._stop.set()
        self._remove()
        if self._stream:
            with contextlib.suppress(OSError):
                self._stream.shutdown(socket.SHUT_RDWR)
        os.close(self.stdout)
        os.close(self.stderr)
        if self._reader.ident is None:
            os.close(self._out)
            os.close(self._err)
        else:
            self._reader.join(DRAIN_S)
        if self._stream:
            self._stream.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
        if self._namespace:
            self._namespace.close()
            self._namespace = None
        self._engine.close()
        left = processes.pids_in_container(self._container) if self._lost else []
        if left or (self._lost and not self._loss_raised):
            self._raise_lost(left)

    def _remove(self) -> None:
        if not self._lost:
            try:
                self._engine.remove(self._container)
            except EngineSilent as e:
                self._note_loss(e)
            except RunError:
                pass  # the container has ended; `sweep` removes it later
            else:
                self._lease.release()
                return
        processes.kill_all(processes.shim_pids(self._container))
        self._lease.leave()
