"""The parts of `docs/configuration.md` and `docs/cli.md` that say what the tables of options and commands say."""

from __future__ import annotations

from typing import Any

from presencedb.cli.catalog import CATALOG, Entry
from presencedb.config import OTHER_VARIABLES, Group, Option, options_of


def option_row(option: Option[Any]) -> str:
    """The line of an option in the tables of the configuration page."""
    flag = f"`{option.flag}{f' {option.metavar}' if option.metavar else ''}`".replace("|", "\\|")
    default = f"`{option.default_text}`" if option.default_text else "none" if option.metavar else "`false`"
    commands = ", ".join(f"`{name}`" for name in CATALOG if name in option.commands)
    if len(option.commands) == len(CATALOG):
        commands = "all"
    elif len(option.commands) > 5:
        commands = "all but " + ", ".join(f"`{name}`" for name in CATALOG if name not in option.commands)
    return f"| {flag} | {default} | {commands} | {_cell(option.help)} |"


def variable_row(name: str) -> str:
    """The line of a variable that is not an option."""
    return f"| `{name}` | {_cell(OTHER_VARIABLES[name])} |"


def group_heading(group: Group) -> str:
    return f"### {group.value}"


def usage_line(entry: Entry) -> str:
    """How a command is called, as its section begins."""
    return f"presencedb {entry.name} [OPTIONS]{' ID...' if entry.takes_ids else ''}"


def examples_of(entry: Entry) -> list[str]:
    """The lines of a command's block of examples, with what they are for beside them."""
    width = max(len(line) for line, _ in entry.examples)
    return [f"{line:<{width}}  # {purpose}" for line, purpose in entry.examples]


def call_rows(entry: Entry) -> list[str]:
    """The options that belong to this command's calls alone."""
    return [
        f"| `{option.flag} {option.metavar}` | {_cell(option.help)} |"
        for option in options_of(entry.name)
        if option.flag_only
    ]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
