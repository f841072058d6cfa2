"""Processes of this program that another one of it runs: started, waited for by their ready lines, heard, and ended.

Each has a pipe as its stdin and is told so by `--child`: when whoever holds the other end is gone, however it ended, the
pipe is closed and the child ends by itself. Each has a session of its own, so that ^C in a terminal reaches the parent,
which ends them in order.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from presencedb.config import PREFIX
from presencedb.errors import EXIT_USAGE, ConfigError, Error, ListenError
from presencedb.implementation import ENVIRONMENT_VARIABLE

_CHUNK_BYTES: Final = 64 * 1024
_READY: Final = "ready "
_PREFIX: Final = "presencedb: "


class Child:
    """One process, which may be started again after it has ended.

    Attributes:
        name: what its lines on stderr begin with.
        addresses: what its ready line says, such as `{"tcp": "127.0.0.1:41237"}`; empty before there is one.
    """

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], *, label: str) -> None:
        """Make it; nothing runs yet.

        Args:
            arguments: of `presencedb`.
            label: what stands before each of its lines on stderr.
        """
        self.name = name
        self.addresses: dict[str, str] = {}
        self._arguments = [*arguments, "--child"]
        self._environment = dict(environment)
        self._label = label
        self._process: asyncio.subprocess.Process | None = None
        self._held: list[str] | None = []
        self._readers: list[asyncio.Task[None]] = []

    @property
    def pid(self) -> int:
        """Of the process that runs, or ran last; 0: none did."""
        return self._process.pid if self._process is not None else 0

    @property
    def runs(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it, and return when it is ready. What it says on stderr is held back until `release`.

        Raises:
            ConfigError, ListenError: it ended instead; the message is its own.
        """
        self.addresses, self._held = {}, []
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "presencedb",
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        hearing = asyncio.create_task(self._hear(process.stderr))
        self._readers = [hearing]
        line = (await process.stdout.readline()).decode(errors="replace")
        if not line.startswith(_READY):
            status = await process.wait()
            await hearing
            raise self._failure(status)
        self.addresses = dict(part.split("=", 1) for part in line.split()[1:] if "=" in part)
        self._readers.append(asyncio.create_task(_drain(process.stdout)))

    def release(self) -> None:
        """Write what it has said on stderr, and from now on everything at once."""
        held, self._held = self._held, None
        for line in held or ():
            self._tell(line)

    async def wait(self) -> str:
        """Return when it has ended, and how: `SIGKILL`, or `status 1`."""
        assert self._process is not None, "it was started"
        status = await self._process.wait()
        await asyncio.gather(*self._readers)
        return signal.Signals(-status).name if status < 0 else f"status {status}"

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to it, if it runs."""
        if self.runs and self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self, timeout_s: float) -> None:
        """Ask it to end, and end it if it has not within the timeout."""
        if self._process is None:
            return
        self.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(timeout_s):
                await self._process.wait()
        except TimeoutError:
            self.send_signal(signal.SIGKILL)
            await self._process.wait()
        await asyncio.gather(*self._readers)

    def _failure(self, status: int) -> Error:
        said = self._held or [f"{_PREFIX}{self.name} ended before it was ready, by status {status}"]
        complaint = next((line for line in said if line.startswith(_PREFIX)), said[-1]).removeprefix(_PREFIX)
        return ConfigError(complaint) if status == EXIT_USAGE else ListenError(complaint)

    async def _hear(self, stream: asyncio.StreamReader) -> None:
        rest = b""
        while chunk := await stream.read(_CHUNK_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._take(line)
        if rest:
            self._take(rest)

    def _take(self, line: bytes) -> None:
        text = line.decode(errors="replace")
        if self._held is not None:
            self._held.append(text)
        else:
            self._tell(text)

    def _tell(self, text: str) -> None:
        with suppress(OSError, ValueError):  # whoever reads the logs may have gone away: it goes on without
            print(f"{self._label}{text}", file=sys.stderr, flush=True)


def clean_environment() -> dict[str, str]:
    """The environment without any option in it: a child gets those that it is to have as flags."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX) or name == ENVIRONMENT_VARIABLE}


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(_CHUNK_BYTES):
        pass
