"""The real server as a process of its own: `nearcast serve` on a free port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

ROOT = Path(__file__).parents[1]
READY_S = 30.0


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens to at this moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class Server:
    """One running server. `stop` asks it to end, `kill` cuts it off in the midst of its work."""

    def __init__(
        self,
        database_url: str,
        folder: Path,
        *,
        clock: str = "wall",
        port: int | None = None,
        module: str = "api.cli",
        options: Sequence[str] = (),
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database_url = database_url
        self._log = folder / f"server-{self.port}.log"
        self._command = [sys.executable, "-m", module, "serve", f"--port={self.port}"]
        self._command += [f"--clock={clock}", *options]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def env(self) -> dict[str, str]:
        """The environment of the server and of commands that work beside it."""
        return os.environ | {
            "NEARCAST_DATABASE_URL": self.database_url,
            "NEARCAST_PUBLIC_URL": self.url,
            "PYTHONPATH": str(ROOT),
        }

    def start(self) -> None:
        """Start the process and wait until it is ready."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self.env,
                cwd=self._log.parent,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a process group of its own: killed as a whole
            )
        until = time.monotonic() + READY_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise RuntimeError(f"the server did not start:\n{self.log()}")
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def log(self) -> str:
        """What the process has printed."""
        return self._log.read_text(errors="replace")

    def has_ended(self, seconds: float) -> bool:
        """Whether the process ends by itself within so long."""
        if self._process is not None:
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                return False
        return True

    def stop(self) -> int:
        """End it as an operator would; returns its exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self._process = None
        return code

    def kill(self) -> None:
        """kill -9: the process and its children."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(20)
        self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
