"""A real PostgreSQL for the tests: started by them, in a temporary folder, stopped by its own pid."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

from nearcast.store.tables import metadata

START_S = 30.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class NoPostgres(Exception):
    """PostgreSQL's programs were not found; `scripts/install-postgres.sh` installs them."""


def programs() -> Path:
    """The folder with `initdb` and `postgres`: on the path, else the newest of Debian's.

    Raises:
        NoPostgres: there is none.
    """
    on_path = shutil.which("initdb")
    if on_path and shutil.which("postgres"):
        return Path(on_path).resolve().parent
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if not found:
        raise NoPostgres(NoPostgres.__doc__)
    return max(found, key=lambda path: float(path.parent.name))


class Postgres:
    """One server, reached over a Unix socket only; durable, as in production."""

    def __init__(self) -> None:
        self._programs = programs()
        self._run_as = _unprivileged()
        self._made = 0
        # short: a socket's path may have 107 bytes; /tmp: another user must reach it
        self.folder = Path(tempfile.mkdtemp(prefix="nearcast-pg-", dir="/tmp"))
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        if self._run_as:
            os.chown(self.folder, self._run_as["user"], self._run_as["group"])
        initdb = [
            str(self._programs / "initdb"),
            f"--pgdata={self.folder / 'data'}",
            "--username=nearcast",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]
        made = subprocess.run(
            initdb, cwd=self.folder, capture_output=True, text=True, check=False, **self._run_as
        )
        if made.returncode:
            raise RuntimeError(f"initdb failed:\n{made.stdout}{made.stderr}")
        self._log = (self.folder / "log").open("wb")
        self._process = subprocess.Popen(
            [
                str(self._programs / "postgres"),
                *("-D", str(self.folder / "data")),
                *("-k", str(self.folder)),
                *("-c", "listen_addresses="),
                *("-c", "max_connections=200"),
            ],
            cwd=self.folder,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C for pytest must not end it before the tests
            preexec_fn=_end_with_parent,
            **self._run_as,
        )
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + START_S
        while True:
            try:
                psycopg.connect(self._conninfo("postgres")).close()
                return
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > until:
                    log = (self.folder / "log").read_text(errors="replace")
                    raise RuntimeError(f"PostgreSQL did not start: {error}\n{log}") from error
                time.sleep(0.02)

    def _conninfo(self, database: str) -> str:
        return f"host={self.folder} user=nearcast dbname={database}"

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of a database of this server."""
        return f"postgresql+psycopg://nearcast@/{database}?host={self.folder}"

    def create(self, template: str = "template0") -> str:
        """A new database, a copy of the template; returns its name."""
        self._made += 1
        name = f"test_{self._made}"
        self._admin(f"create database {name} template {template}")
        return name

    def empty(self, name: str) -> None:
        """Take every row out of a migrated database and count from 1 again; 30 × faster than a copy."""
        others = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s"
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as conn:
            conn.execute(others, [name])
        with psycopg.connect(self._conninfo(name)) as conn:
            conn.execute("set session_replication_role = replica")  # no order among the tables
            for table in metadata.tables:
                conn.execute(f'delete from "{table}"')  # type: ignore[arg-type]
            conn.execute(
                "select setval(c.oid, 1, false) from pg_class c join pg_sequence on seqrelid = c.oid"
            )

    def drop(self, name: str) -> None:
        """Drop a database, whoever is still in it."""
        self._admin(f"drop database {name} with (force)")

    def _admin(self, statement: str) -> None:
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as conn:
            conn.execute(statement)  # type: ignore[arg-type]

    def stop(self) -> None:
        """End the server by its own pid and remove its folder."""
        process: subprocess.Popen[bytes] | None = getattr(self, "_process", None)
        if process is not None:
            process.send_signal(signal.SIGINT)  # "fast": clients are cut off
            process.wait(20)
            self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _end_with_parent() -> None:
    """On Linux the kernel ends the server when the tests were killed and could not."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _unprivileged() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then it runs as `postgres`, else as `nobody`."""
    if os.geteuid() != 0:
        return {}
    known = {user.pw_name: user for user in pwd.getpwall()}
    user = known.get("postgres") or known["nobody"]
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
