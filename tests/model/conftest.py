"""A small real model behind a third party's server, for the tests in this directory."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import prepare
import pytest

from kit.agent.llm.profile import CallTimeouts, EditFormat, ModelProfile, TokenParameter

START_S = 600
STOP_S = 60


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelProfile]:
    """The profile of SmolLM2-135M, served on a free port for the session; its edits are bad."""
    folder = prepare.directory()
    if not prepare.is_ready(folder):
        pytest.fail(f"the small model is not installed; run: {prepare.HINT}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    model = prepare.model(folder)
    log = tmp_path_factory.mktemp("server") / "log.txt"
    command = [prepare.server(folder), "serve", model, "--host", "127.0.0.1", "--port", str(port)]
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [*command, "--device", "cpu", "--dtype", "float32"], stdout=out, stderr=out, env=env
        ) as server,
    ):
        try:
            _wait(f"http://127.0.0.1:{port}/v1/models", server, log)
            yield ModelProfile(
                name="SmolLM2-135M-Instruct",
                model=str(model),
                base_url=f"http://127.0.0.1:{port}/v1",
                token_parameter=TokenParameter.MAX_TOKENS,
                max_output_tokens=16,
                context_tokens=2048,
                edit_format=EditFormat.BLOCKS,
                temperature=0.0,
                timeouts=CallTimeouts(30.0, 900.0),
            )
        finally:
            server.terminate()
            try:
                server.wait(STOP_S)
            except subprocess.TimeoutExpired:
                server.kill()


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + START_S
    while time.monotonic() < end and server.poll() is None:
        try:
            with opener.open(url, timeout=30):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"the server did not start:\n{log.read_text(errors='replace')[-3000:]}")
