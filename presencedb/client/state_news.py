"""Telling the states of a blocking client: each once and in order, by whichever thread finds that there is one to tell."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from presencedb.client.values import ConnectionState

LOG_NAME: Final = "presencedb.client.state"

_log = logging.getLogger(LOG_NAME)


class StateNews:
    """States that are to be told to a function of the caller's, which may use the client."""

    def __init__(self, on_state: Callable[[ConnectionState], None] | None) -> None:
        self.state = ConnectionState.IDLE
        self._on_state = on_state
        self._lock = threading.RLock()
        self._untold: deque[ConnectionState] = deque()
        self._is_telling = False

    def set(self, state: ConnectionState) -> None:
        """Note a state; `CLOSED` is the last."""
        with self._lock:
            if state is not self.state and self.state is not ConnectionState.CLOSED:
                self.state = state
                if self._on_state is not None:
                    self._untold.append(state)

    def tell(self) -> None:
        """Tell what was noted, unless another thread is at it, which then tells that too. To be called without any lock."""
        with self._lock:
            if self._is_telling or not self._untold:
                return
            self._is_telling = True
        try:
            while (state := self._next()) is not None:
                self._tell_one(state)
        except BaseException:
            self._is_telling = False
            raise

    def _next(self) -> ConnectionState | None:
        with self._lock:
            if self._untold:
                return self._untold.popleft()
            self._is_telling = False
            return None

    def _tell_one(self, state: ConnectionState) -> None:
        assert self._on_state is not None
        try:
            self._on_state(state)
        except Exception:
            # Not the fault of the call in whose middle it is told.
            _log.exception("on_state failed at %s", state)
