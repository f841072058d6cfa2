"""How long a question has taken: by so much an age that comes with its answer may be too young."""

from __future__ import annotations

import asyncio
from math import ceil

from presencedb.limits import SECOND_MS


class Stopwatch:
    """Begins when it is made, by the time of the running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()

    @property
    def elapsed_ms(self) -> int:
        """Time since then, rounded up."""
        return ceil((self._loop.time() - self._began_s) * SECOND_MS)
