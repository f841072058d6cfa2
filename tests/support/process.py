"""Real `presencedb` processes: started on free ports, waited for by their ready line, always reaped.

Output goes to files, not pipes, so that a process never blocks on a reader that is busy elsewhere.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.support.waiting import wait_until

DEADLINE_S: Final = 30.0
KEPT_VARIABLES: Final = ("PRESENCEDB_IMPL",)
"""What the tests were told to run, the processes that they start run too."""
FREE_PORTS: Final = ("--listen", "127.0.0.1:0", "--http", "127.0.0.1:0")


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This environment without any option of presencedb in it, and with `extra`."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("PRESENCEDB_") or name in KEPT_VARIABLES
    }
    return kept | dict(extra or {})


def run_command(
    *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None, deadline_s: float = DEADLINE_S
) -> subprocess.CompletedProcess[str]:
    """Run `presencedb ...` to its end, in an empty folder; gives its exit status, `stdout` and `stderr`.

    Raises:
        subprocess.TimeoutExpired: it did not end within `deadline_s`; it was killed.
    """
    with tempfile.TemporaryDirectory(prefix="presencedb-") as folder:
        return subprocess.run(
            [sys.executable, "-m", "presencedb", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=folder,
            env=clean_environment(environment),
            timeout=deadline_s,
            check=False,
        )


class ServerProcess:
    """`presencedb ...` as a real process, in an empty working folder; ready when `with` is entered.

    `ServerProcess("serve", *FREE_PORTS, "--ttl", "2")`; `serve("--ttl", "2")` says the same in short.
    """

    def __init__(
        self, *arguments: str, environment: Mapping[str, str] | None = None, deadline_s: float = DEADLINE_S
    ) -> None:
        self.command = [sys.executable, "-m", "presencedb", *arguments]
        self.ready: dict[str, str] = {}
        """The ready line: `{"tcp": "127.0.0.1:41237", "http": "127.0.0.1:41238"}`."""
        self._environment = clean_environment(environment)
        self._deadline_s = deadline_s
        self._folder = tempfile.TemporaryDirectory(prefix="presencedb-")
        self._process: subprocess.Popen[bytes] | None = None
        self._kept_output: tuple[str, str] | None = None

    def __enter__(self) -> Self:
        (self.folder / "work").mkdir()
        with (self.folder / "stdout").open("wb") as stdout, (self.folder / "stderr").open("wb") as stderr:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=self.folder / "work",
                env=self._environment,
            )
        try:
            line = wait_until(self._ready_line, self._deadline_s, what="the ready line")
        except BaseException as error:
            error.add_note(self._account())
            self.close()
            raise
        self.ready = dict(part.split("=", 1) for part in line.split()[1:] if "=" in part)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(self._account())
        self.close()

    @property
    def folder(self) -> Path:
        """A folder of its own, with its `stdout`, `stderr`, and `work`, in which it runs; gone when `with` is left."""
        return Path(self._folder.name)

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def tcp(self) -> tuple[str, int]:
        """Where it listens for the protocol."""
        return _address(self.ready["tcp"])

    @property
    def http(self) -> tuple[str, int]:
        """Where it listens for HTTP."""
        return _address(self.ready["http"])

    @property
    def url(self) -> str:
        """For a client: `presence://127.0.0.1:41237`."""
        return f"presence://{self.ready['tcp']}"

    @property
    def http_url(self) -> str:
        """For an HTTP client: `http://127.0.0.1:41238`."""
        return f"http://{self.ready['http']}"

    @property
    def stdout(self) -> str:
        """All that it wrote so far."""
        return self._output()[0]

    @property
    def stderr(self) -> str:
        """All that it logged so far."""
        return self._output()[1]

    def poll(self) -> int | None:
        """The exit status, or None while it runs; negative: the signal that ended it."""
        return self._running().poll()

    def send_signal(self, number: signal.Signals) -> None:
        self._running().send_signal(number)

    def sigstop(self) -> None:
        """Stop it where it stands, until `sigcont`; returns when it stands."""
        self.send_signal(signal.SIGSTOP)
        wait_until(lambda: self._state() in "Tt", what="the stop of the process")

    def sigcont(self) -> None:
        self.send_signal(signal.SIGCONT)

    def sigkill(self) -> None:
        """End it as a crash would; returns when it is gone."""
        self._running().kill()
        self._running().wait()

    def terminate(self, deadline_s: float = DEADLINE_S) -> int:
        """Ask it to end by SIGTERM, and give its exit status.

        Raises:
            AssertionError: it did not end within `deadline_s`; what it wrote is in the note.
        """
        self._running().terminate()
        return self.wait(deadline_s)

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        """The exit status, once it has ended.

        Raises:
            AssertionError: it did not end within `deadline_s`.
        """
        try:
            return self._running().wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{' '.join(self.command)} did not end within {deadline_s:g} s") from None

    def close(self) -> None:
        """Kill it if it runs, reap it, and remove its folder; its output stays readable."""
        if self._process is not None and self._process.poll() is None:
            self.sigkill()
        if self._kept_output is None:
            self._kept_output = self._output()
            self._folder.cleanup()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the process was not started: use `with`")
        return self._process

    def _ready_line(self) -> str | None:
        ready = next((line for line in self.stdout.splitlines(keepends=True) if line.startswith("ready ")), "")
        if ready.endswith("\n"):
            return ready
        if self.poll() is not None:
            raise AssertionError(f"{' '.join(self.command)} ended with status {self.poll()} before it was ready")
        return None

    def _state(self) -> str:
        stat = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii", errors="replace")
        return stat.rpartition(")")[2].split()[0]

    def _output(self) -> tuple[str, str]:
        if self._kept_output is not None:
            return self._kept_output
        stdout, stderr = (self.folder / "stdout", self.folder / "stderr")
        return stdout.read_text(errors="replace"), stderr.read_text(errors="replace")

    def _account(self) -> str:
        stdout, stderr = self._output()
        return f"{' '.join(self.command)}\n--- its stdout:\n{stdout}\n--- its stderr:\n{stderr}"


def serve(*arguments: str, environment: Mapping[str, str] | None = None) -> ServerProcess:
    """`presencedb serve` with both ports free, and further arguments; use it in `with`."""
    return ServerProcess("serve", *FREE_PORTS, *arguments, environment=environment)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
