"""Where the values of options come from: command line, then environment, then file, then default.

An empty variable counts as not set. Every message about a value names where the value came from. What is not known is
refused with the nearest name: a mistyped key or variable that is passed over is a server that runs with other settings
than its owner believes.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from presencedb.config import (
    CONFIG,
    OPTIONS,
    OTHER_VARIABLES,
    PREFIX,
    RETENTION,
    TICK,
    TOKEN_VARIABLE,
    TTL,
    Option,
    options_of,
)
from presencedb.errors import ConfigError
from presencedb.limits import RETENTION_MS_MAX, TTL_MS_MAX
from presencedb.units import duration_text

T = TypeVar("T")

SHOWN_CHARS_MAX: Final = 300
"""A message repeats a wrong value, a long path too, but not a page of it."""
TTL_TICKS_FEW: Final = 3
"""Below this a single late heartbeat, or one rounded to the next tick, takes a user offline."""
_PASSED_OVER: Final = re.compile(
    r"PRESENCEDB_TEST_.*"
    # What Kubernetes and Docker links put into every container beside a service whose name begins with presencedb.
    r"|PRESENCEDB_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


@dataclass(frozen=True, slots=True)
class Value:
    """A value and its origin: `--ttl 5`, `PRESENCEDB_TTL=5`, `presencedb.toml, ttl = 5`, `the default of --ttl`.

    The origin of a value that may hold a secret is without it: `--url`, `PRESENCEDB_URL`, `presencedb.toml, url`.

    Attributes:
        text: what was written; None: nobody wrote anything, it is a default.
    """

    value: object
    origin: str
    text: str | None


class Settings:
    """The value of every option of one command."""

    def __init__(self, values: Mapping[str, Value], token: str | None) -> None:
        self._values = dict(values)
        self.token = token
        """What `PRESENCEDB_TOKEN` holds, if it is set."""

    def __getitem__(self, option: Option[T]) -> T:
        """The value of an option.

        Raises:
            KeyError: the command does not take it.
        """
        return cast("T", self._values[option.name].value)

    def origin(self, option: Option[Any]) -> str:
        """Where the value came from, and as what, for a message."""
        return self._values[option.name].origin

    def takes(self, option: Option[Any]) -> bool:
        """Whether the command takes the option."""
        return option.name in self._values

    def given(self, option: Option[Any]) -> bool:
        """Whether somebody chose the value, even if the default is the same."""
        return self._values[option.name].text is not None

    def given_texts(self) -> dict[str, str]:
        """What was written, by the names of the options that somebody chose: for a process that is to have the same."""
        return {name: value.text for name, value in self._values.items() if value.text is not None}

    def with_default(self, option: Option[T], value: T, origin: str) -> Settings:
        """The same with another default for an option, which tells nothing where somebody chose a value."""
        if self.given(option):
            return self
        return Settings({**self._values, option.name: Value(value, origin, None)}, self.token)


def read_settings(command: str, flags: Mapping[str, str], environment: Mapping[str, str]) -> Settings:
    """Find the value of every option that a command takes.

    Args:
        flags: name of an option -> text, for those given on the command line.
        environment: all variables of the process; those without the prefix are none of ours.

    Raises:
        ConfigError: a name is unknown or a value is not what its option takes, wherever it stands.
    """
    _check_variables(environment)
    found = {CONFIG.name: _read_option(CONFIG, flags, environment, {}, "")}
    path = cast("Path | None", found[CONFIG.name].value)
    document = _read_file(path, found[CONFIG.name].origin) if path is not None else {}
    for option in options_of(command):
        if option is not CONFIG:
            found[option.name] = _read_option(option, flags, environment, document, str(path))
    settings = Settings(found, environment.get(TOKEN_VARIABLE) or None)
    if TTL.name in found:
        _check_times(settings)
    return settings


def warnings_of(settings: Settings) -> list[str]:
    """What a node's owner should know about settings that are allowed, but seldom meant."""
    warnings = []
    if settings[RETENTION] is None:
        warnings.append(f"{settings.origin(RETENTION)}: last_seen is kept in memory only and is lost with this process")
    if settings[TTL] < TTL_TICKS_FEW * settings[TICK]:
        warnings.append(
            f"{settings.origin(TTL)} is less than {TTL_TICKS_FEW} ticks of {duration_text(settings[TICK])}: "
            "one late heartbeat takes a user offline"
        )
    return warnings


def _check_times(settings: Settings) -> None:
    ttl_ms, retention_ms = settings[TTL], settings[RETENTION]
    if ttl_ms < settings[TICK]:
        tick = duration_text(settings[TICK])
        raise ConfigError(f"{settings.origin(TTL)}: out of range, it takes one tick ({tick}) to {duration_text(TTL_MS_MAX)}")
    if retention_ms is not None and 0 < retention_ms < ttl_ms:
        raise ConfigError(
            f"{settings.origin(RETENTION)}: out of range, it takes online, forever, "
            f"or the ttl ({duration_text(ttl_ms)}) to {duration_text(RETENTION_MS_MAX)}"
        )


def _read_option(
    option: Option[Any], flags: Mapping[str, str], environment: Mapping[str, str], document: Mapping[str, Any], path: str
) -> Value:
    if option.name in flags:
        text = flags[option.name]
        return _parsed(option, text, option.flag + _value_shown(option, " ", text))
    if not option.flag_only and environment.get(option.variable):
        text = environment[option.variable]
        return _parsed(option, text, option.variable + _value_shown(option, "=", text))
    if option.name in document:
        value = document[option.name]
        origin = f"{path}, {option.name}{_value_shown(option, ' = ', value)}"
        return _parsed(option, _toml_text(option, value, origin), origin)
    return Value(option.default, f"the default of {option.flag}", None)


def _value_shown(option: Option[Any], sign: str, value: object) -> str:
    is_flag_of_switch = not option.metavar and sign == " "
    return "" if option.may_hold_secret or is_flag_of_switch else f"{sign}{_shown(value)}"


def _parsed(option: Option[Any], text: str, origin: str) -> Value:
    try:
        return Value(option.parse(text), origin, text)
    except ValueError as error:
        raise ConfigError(f"{origin}: {error}") from None


def _toml_text(option: Option[Any], value: object, origin: str) -> str:
    if isinstance(value, bool) is not (not option.metavar):
        raise ConfigError(f"{origin}: it takes {'a value, not a switch' if option.metavar else 'true or false'}")
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int):
        return str(value).lower()
    if isinstance(value, float):
        return f"{Decimal(repr(value)):f}"
    raise ConfigError(f"{origin}: it takes a number or text")


def _read_file(path: Path, origin: str) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{origin}: cannot read it: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{origin}: not UTF-8 text") from None
    except (ValueError, RecursionError) as error:  # tomllib lets both out of a document that is absurd
        raise ConfigError(f"{origin}: not TOML: {error}") from None
    known = [option.name for option in OPTIONS.values() if not option.flag_only and option is not CONFIG]
    for key in document:
        if (row := OPTIONS.get(key)) is not None and row.flag_only:
            raise ConfigError(f"{path}: {key} is no key: {row.flag} is for the command line only")
        if key not in known:
            raise ConfigError(f"{path}: unknown key {_shown(key)}{nearest(key, known)}")
    return document


def _check_variables(environment: Mapping[str, str]) -> None:
    known = {option.variable for option in OPTIONS.values() if not option.flag_only} | set(OTHER_VARIABLES)
    flags = {option.variable: option.flag for option in OPTIONS.values() if option.flag_only}
    for name in environment:
        if name in flags:
            raise ConfigError(f"{name} is no variable: {flags[name]} is for the command line only")
        if name.startswith(PREFIX) and name not in known and not _PASSED_OVER.fullmatch(name):
            raise ConfigError(f"unknown variable {_shown(name)}{nearest(name, known)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: `; did you mean ttl?`, or nothing where nothing is near."""
    matches = difflib.get_close_matches(name[:SHOWN_CHARS_MAX], sorted(known), n=1)
    return f"; did you mean {matches[0]}?" if matches else ""


def _shown(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    printable = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return printable if len(printable) <= SHOWN_CHARS_MAX else f"{printable[:SHOWN_CHARS_MAX]}..."
