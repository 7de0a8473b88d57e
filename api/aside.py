"""What would hold up other requests happens in a process aside: uploads, and large workbooks.

`python -m api.aside uploads` works off the uploads that wait; `report` and `export` write one file.
Settings reach it by the environment. It outlives the server that started it: a step that was begun is
finished, and one that is cut off is begun anew by whoever looks at the upload next.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from api.settings import Settings
from geo.errors import NearcastError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from nearcast.store.uploads import UploadState

#: a workbook of 100,000 rows takes about 10 s
FILE_WALL_S = 120.0
MAX_WRITERS = 2  # files that are written at once; each takes up to 300 MB


class NotWritten(NearcastError):
    """The file could not be written now; it was too long in the making. Try again later."""

    code = "not_written"


class Aside:
    """Starts processes for one server.

    Attributes:
        settings: what the processes are told.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._worker: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()
        self._writing = threading.BoundedSemaphore(MAX_WRITERS)

    def wake(self) -> None:
        """See to it that a process works off the uploads that wait; one is enough.

        Where the system has no room for one now, the next who asks about the upload tries again.
        """
        with self._starting:
            if self._worker is None or self._worker.poll() is not None:
                with suppress(OSError):
                    self._worker = subprocess.Popen(  # noqa: S603 - our own module, our own words
                        self._command("uploads"),
                        env=self._env(),
                        stdin=subprocess.DEVNULL,
                        start_new_session=True,  # Ctrl-C ends the server, not a step half done
                    )

    def write(self, path: Path, *args: str) -> None:
        """Have a file written; the process's errors come on our standard error.

        Raises:
            NotWritten: it failed, or took longer than two minutes.
        """
        if not self._writing.acquire(timeout=FILE_WALL_S):
            raise NotWritten
        try:
            subprocess.run(  # noqa: S603 - as above
                self._command(*args, str(path)),
                env=self._env(),
                stdin=subprocess.DEVNULL,
                timeout=FILE_WALL_S,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise NotWritten from error
        finally:
            self._writing.release()

    def _command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "api.aside", *args]

    def _env(self) -> dict[str, str]:
        root = str(Path(__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        return os.environ | self.settings.to_env() | {"PYTHONPATH": path}


def work_uploads() -> None:
    """Work off the uploads that wait."""
    from api.wiring import build
    from api.worker import json_log
    from nearcast.services.work_uploads import work_off

    log = json_log().bind(name="nearcast.uploads")
    house = build(Settings.from_env())

    def ended(upload_id: int, state: UploadState, seconds: float, error: Exception | None) -> None:
        code = getattr(error, "code", None)
        log.info("step", upload=upload_id, state=state.value, seconds=round(seconds, 2), error=code)
        if error is not None and code is None:
            log.error("fault", upload=upload_id, trace="".join(traceback.format_exception(error)))

    try:
        work_off(
            house.engine,
            house.clock,
            max_radius_m=house.settings.max_radius_m,
            ended=ended,
        )
    finally:
        house.engine.dispose()


def write_report(upload_id: str, workspace_id: str, lang: str, path: str) -> None:
    """Write an upload's marked workbook."""
    from nearcast.services.mark_upload import mark_upload
    from nearcast.store.engine import make_engine

    engine = make_engine(Settings.from_env().database_url)
    data = mark_upload(engine, int(upload_id), workspace_id=int(workspace_id), lang=lang)
    Path(path).write_bytes(data)
    engine.dispose()


def write_export(group_id: str, workspace_id: str, kind: str, lang: str, path: str) -> None:
    """Write the fences of a group, which is named by its serial: a name may be no argument."""
    from nearcast.services.export_fences import Format, export_fences
    from nearcast.store import groups
    from nearcast.store.engine import make_engine, reading

    def verb(conn: sa.Connection) -> bytes:
        own = int(workspace_id)
        group = groups.get(conn, workspace_id=own, group_id=int(group_id))
        if group is None:
            raise NotWritten  # deleted meanwhile
        return export_fences(conn, Format(kind), workspace_id=own, group=group["name"], lang=lang)[0]

    engine = make_engine(Settings.from_env().database_url)
    Path(path).write_bytes(reading(engine, verb))
    engine.dispose()


#: what the process can do, by its first argument
JOBS: dict[str, Callable[..., None]] = {
    "uploads": work_uploads,
    "report": write_report,
    "export": write_export,
}

if __name__ == "__main__":
    JOBS[sys.argv[1]](*sys.argv[2:])
