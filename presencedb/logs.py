"""Logs of a process: one stream of events on stderr, as lines for people or JSON for machines.

Everything in the project logs through structlog or the standard `logging`; both end here, in one format. A line is one
event, whatever a peer has sent: values that hold anything but printable characters are quoted.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

_EVENT_CHARS: Final = 40
"""Events are padded to this, so that what belongs to them stands in a column."""


def configure_logs(log_format: str, level: str) -> None:
    """Send all logs of this process to stderr, from `release_logs` on.

    Args:
        log_format: `text` or `json`.
        level: the least that is written: `debug`, `info`, `warning` or `error`.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer() if log_format == "json" else _render_text
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    _handler.setStream(sys.stderr)
    _handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [_handler]
    root.setLevel(level.upper())


def release_logs(least: int = logging.NOTSET) -> None:
    """Write what was held back so far, of this level at least, and from now on everything at once.

    Until then a server that is about to start keeps its logs to itself, so that one that cannot start says only why.
    """
    held, _handler.held = _handler.held, None
    for record in held or ():
        if record.levelno >= least:
            _handler.emit(record)


class _StderrHandler(logging.StreamHandler[Any]):
    """Writes to stderr. If nobody reads it any more the server goes on without its logs."""

    held: list[logging.LogRecord] | None

    def __init__(self) -> None:
        super().__init__()
        self.held = []

    def emit(self, record: logging.LogRecord) -> None:
        if self.held is not None:
            self.held.append(record)
        else:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name that logging calls
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


_handler: Final = _StderrHandler()


def _render_text(_logger: object, _method: str, event_dict: MutableMapping[str, Any]) -> str:
    fields = dict(event_dict)
    moment = str(fields.pop("timestamp"))
    level = str(fields.pop("level"))
    event = _quoted(fields.pop("event"), spaces=True)
    trace = fields.pop("exception", None)
    pairs = " ".join(f"{name}={_quoted(value)}" for name, value in fields.items())
    line = f"{moment} {level:<7} {event:<{_EVENT_CHARS}} {pairs}".rstrip()
    return line if trace is None else f"{line}\n{trace}"


def _quoted(value: object, *, spaces: bool = False) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    plain = text.isprintable() and text and '"' not in text and (spaces or (" " not in text and "=" not in text))
    return text if plain else json.dumps(text)
