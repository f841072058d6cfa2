"""What every server command does: start, say where it serves, obey signals, end cleanly.

SIGTERM and SIGINT end it once open requests are done, a second one at once; SIGHUP reads its files anew. With `--child` it
ends as well when its stdin is closed, which happens when the process that started it is gone, however that ended.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import structlog

from presencedb.cli.reload import Reloadable, reload_all
from presencedb.config import CHILD, INSECURE, LOG_FORMAT, LOG_LEVEL, Option
from presencedb.errors import EXIT_FAILED, ConfigError, Error, ListenError
from presencedb.logs import configure_logs, release_logs
from presencedb.settings import Settings
from presencedb.transport import loop
from presencedb.units import Address, is_loopback

log = structlog.get_logger()

_ENDING: Final = (signal.SIGTERM, signal.SIGINT)
_STDIN: Final = 0
_STDIN_BYTES: Final = 4096


def run_server(settings: Settings, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run the coroutine of a server to its end, with logs on stderr.

    Raises:
        presencedb.Error: it could not start.
    """
    configure_logs(settings[LOG_FORMAT], settings[LOG_LEVEL])
    try:
        loop.run(main())
    except Error:
        release_logs(logging.WARNING)
        raise
    finally:
        # The loop is gone, and its handlers with it: a late second signal must not turn a clean end into a death by signal.
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)
        release_logs()


class Signals:
    """The signals of this process, from the moment this is made: who asks it to end, and who to read its files.

    Raises:
        ConfigError: it is to end with its stdin, of which nothing can be told.
    """

    def __init__(self, settings: Settings) -> None:
        self.reloadables: Sequence[Reloadable] = ()
        self._told_to_end = asyncio.Event()
        running = asyncio.get_running_loop()
        for number in _ENDING:
            running.add_signal_handler(number, self._end, number)
        running.add_signal_handler(signal.SIGHUP, self._reload)
        if is_child(settings):
            try:
                running.add_reader(_STDIN, self._read_stdin)
            except OSError:
                raise ConfigError(f"{settings.origin(CHILD)}: stdin has to be a pipe") from None

    async def wait_for_end(self) -> None:
        """Return when the process is asked to end."""
        await self._told_to_end.wait()

    def _end(self, number: signal.Signals) -> None:
        if self._told_to_end.is_set():
            log.warning("ending at once", signal=number.name)
            os._exit(EXIT_FAILED)
        log.info("ending", signal=number.name)
        self._told_to_end.set()

    def _read_stdin(self) -> None:
        if os.read(_STDIN, _STDIN_BYTES):
            return
        asyncio.get_running_loop().remove_reader(_STDIN)
        log.info("ending", reason="stdin is closed")
        self._told_to_end.set()

    def _reload(self) -> None:
        reload_all(self.reloadables)


@contextmanager
def listening(settings: Settings, *options: Option[Any]) -> Iterator[None]:
    """Name, in the error of a part that could not listen, the option that said where."""
    try:
        yield
    except ListenError as error:
        for option in options:
            value = settings[option]
            if value is not None and str(value) in error.message:
                raise ListenError(f"{error.message} ({option.flag})") from None
        raise


def refuse_open_door(settings: Settings, option: Option[Address | None], *, has_secrets: bool, cure: str) -> bool:
    """Refuse to serve other machines without asking who they are, unless `--insecure` says so.

    Args:
        cure: the options that would ask them.

    Returns:
        Whether the door is open, by `--insecure`.

    Raises:
        ConfigError: the address is not of loopback, nothing is asked for, and `--insecure` is not given.
    """
    address = settings[option]
    if address is None or has_secrets or is_loopback(address.host):
        return False
    if settings[INSECURE]:
        return True
    raise ConfigError(
        f"{settings.origin(option)} listens beyond this machine, and everybody could write and read there: "
        f"give {cure}, or --insecure if that is meant"
    )


def is_child(settings: Settings) -> bool:
    """Whether it runs for the process that has started it: `--child`."""
    return settings.takes(CHILD) and settings[CHILD]


def announce(settings: Settings, banner: Sequence[str], addresses: dict[str, str]) -> None:
    """The banner on stderr, if a person may read it, and after it the ready line on stdout."""
    line = " ".join(["ready", *(f"{name}={address}" for name, address in addresses.items())])
    announce_lines(settings, banner, [line])


def announce_lines(settings: Settings, banner: Sequence[str], ready_lines: Sequence[str]) -> None:
    """The same for several ready lines, in their own words."""
    release_logs()
    if not is_child(settings):
        print("\n".join(banner), file=sys.stderr, flush=True)
    print("\n".join(ready_lines), flush=True)
