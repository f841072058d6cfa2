"""Programs under `examples/` as processes that are killed and started again."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.support.process import DEADLINE_S, clean_environment
from tests.support.sources import ROOT

EXAMPLES: Final = ROOT / "examples"


class Example:
    """One program with its arguments, in a working folder; runs from `with` on, until it is killed or told to end."""

    def __init__(self, folder: Path, program: str, *arguments: str) -> None:
        self._command = [sys.executable, "-W", "error", str(EXAMPLES / program), *arguments]
        self._folder = folder
        self._output = folder / f"{Path(program).stem}.output"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"{' '.join(self._command)}\n{self.output}")
        self.kill()

    def start(self) -> None:
        """Start it, a second time too."""
        assert self._process is None
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=clean_environment(),
            )

    @property
    def output(self) -> str:
        """What all runs of it printed and logged."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def ask_to_end(self) -> None:
        """Send SIGTERM."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def has_ended(self) -> bool:
        """Whether it ended by itself."""
        assert self._process is not None
        return self._process.poll() is not None

    def status(self) -> int:
        """The exit status; waits until it has ended."""
        assert self._process is not None
        status = self._process.wait(DEADLINE_S)
        self._process = None
        return status


def run_example(folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one to its end."""
    return subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / program), *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=clean_environment(),
        timeout=DEADLINE_S,
        check=False,
    )
