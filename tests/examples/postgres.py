"""A PostgreSQL of a test's own: a fresh database on a Unix socket in a folder of its own, gone when the test is over."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psycopg

from tests.support.programs import require_program
from tests.support.waiting import wait_until

OPTIONS: Final = ("listen_addresses=", "fsync=off", "max_connections=20", "shared_buffers=16MB")
DEADLINE_S: Final = 60.0


class Postgres:
    """Ready when `with` is entered; may be stopped and started meanwhile."""

    def __init__(self) -> None:
        self._initdb = require_program("initdb")
        self._postgres = require_program("postgres")
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:  # as which PostgreSQL refuses to run
            nobody = pwd.getpwnam("nobody")
            os.chown(self._folder, nobody.pw_uid, nobody.pw_gid)
            self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}

    def __enter__(self) -> Self:
        data = ("--pgdata", "data", "--username", "test", "--auth", "trust", "--encoding", "UTF8", "--no-locale")
        with (self._folder / "log").open("wb") as log:
            self._run([self._initdb, *data, "--no-sync"], log).wait(DEADLINE_S)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note((self._folder / "log").read_text(errors="replace"))
        try:
            self.stop()
        finally:
            shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start the server; returns when it takes connections."""
        options = [word for option in (*OPTIONS, f"unix_socket_directories={self._folder}") for word in ("-c", option)]
        with (self._folder / "log").open("ab") as log:
            self._process = self._run([self._postgres, "-D", "data", *options], log)
        wait_until(self._is_ready, DEADLINE_S, what="a connection to PostgreSQL")

    def stop(self) -> None:
        """End the server and with it every connection."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # a "fast" shutdown
            try:
                self._process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)  # an "immediate" one, its children too
                self._process.wait()
                raise
            finally:
                self._process = None

    @property
    def where(self) -> str:
        """For `psycopg.connect`."""
        return f"host={self._folder} user=test dbname=postgres"

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "PostgreSQL ended"
        try:
            psycopg.connect(self.where).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, command: list[str], log: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self._folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            **self._user,
        )
