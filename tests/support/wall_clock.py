"""The wall clock of a running process, set forward or back by a test, as an administrator or NTP would.

`wall_clock.c` beside this file is compiled and preloaded into the process; its monotonic clocks are not touched.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.support.programs import require_program

SOURCE: Final = Path(__file__).with_suffix(".c")
OFFSET_BYTES: Final = 8


class WallClock:
    """A shift of the wall clock for every process that is started with `environment`. Needs a C compiler."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "wall_clock_offset"
        self._file.write_bytes(bytes(OFFSET_BYTES))
        self._library = folder / "wall_clock.so"
        compiler = require_program("cc")
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", self._library, SOURCE], check=True)

    @property
    def environment(self) -> dict[str, str]:
        """What to add to the environment of a process."""
        return {"LD_PRELOAD": str(self._library), "WALL_CLOCK_FILE": str(self._file)}

    def set_offset_s(self, offset_s: int) -> None:
        """Show the processes the machine's wall clock plus `offset_s`, which may be negative, from now on."""
        with self._file.open("r+b") as file:
            file.write(offset_s.to_bytes(OFFSET_BYTES, sys.byteorder, signed=True))
