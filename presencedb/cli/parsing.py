"""The table of options and the catalog of commands, made into click commands: parsing, help, completion.

Values stay text here; `settings.py` parses them, wherever they come from, with the same messages.
"""

# ruff: noqa: ARG002 - methods of click are overridden with the whole of their signature
from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from click.shell_completion import CompletionItem

from presencedb.cli.catalog import CATALOG, FAMILIES, Entry
from presencedb.config import OPTIONS, Group, Option, options_of
from presencedb.errors import ConfigError
from presencedb.implementation import ENVIRONMENT_VARIABLE
from presencedb.settings import nearest, read_settings
from presencedb.version import __version__

HELP_WIDTH = 110
SOURCES = "Each option is also a variable (--ttl: PRESENCEDB_TTL) and a key of the TOML file of --config (ttl = 30)."
COMPLETION = 'eval "$(_PRESENCEDB_COMPLETE=bash_source presencedb)"'


class TableOption(click.Option):
    """A flag out of the table of options."""

    def __init__(self, option: Option[Any]) -> None:
        self.row = option
        default = f"  [default: {option.default_text}]" if option.default_text else ""
        names = f"{option.flag}/--no-{option.name}" if not option.metavar else option.flag
        super().__init__(
            [names, option.name.replace("-", "_")],
            default=None,
            metavar=option.metavar or None,
            help=option.help + default,
        )

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The words it takes, or names of files where it takes a file."""
        if self.row.metavar in ("FILE", "PATH", "DIR"):
            return [CompletionItem(incomplete, type="dir" if self.row.metavar == "DIR" else "file")]
        return [CompletionItem(choice) for choice in self.row.choices if choice.startswith(incomplete)]


class CatalogCommand(click.Command):
    """A command out of the catalog; its code is loaded when it runs."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        params: list[click.Parameter] = [TableOption(option) for option in options_of(entry.name)]
        if entry.takes_ids:
            params.append(click.Argument(["ids"], nargs=-1, metavar="ID..."))
        super().__init__(
            entry.name,
            params=params,
            context_settings={"allow_extra_args": True},  # they are refused here, without repeating what may be a secret
            callback=self._run,
            help=f"{entry.line}\n\n{entry.text}",
            short_help=entry.line,
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _usage_of(ctx, self.name or ""):
            rest = super().parse_args(ctx, args)
        if rest and not ctx.resilient_parsing:
            raise click.UsageError(f"{self.name} takes no arguments, only options", ctx)
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for group in Group:
            rows = [
                record
                for param in self.get_params(ctx)
                if isinstance(param, TableOption) and param.row.group is group
                for record in [param.get_help_record(ctx)]
                if record is not None
            ]
            if rows:
                with formatter.section(group.value):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            formatter.write_dl(self.entry.examples)
        formatter.write_paragraph()
        formatter.write_text(SOURCES)

    def _run(self, ids: tuple[str, ...] = (), **given: str | bool | None) -> None:
        if self.entry.takes_ids and not ids:
            raise click.UsageError("it takes at least one ID, or - to read them from stdin")
        flags = {
            name.replace("_", "-"): str(value).lower() if isinstance(value, bool) else value
            for name, value in given.items()
            if value is not None
        }
        settings = read_settings(self.entry.name, flags, os.environ)
        _code_of(self.entry).run(settings, ids)


class CatalogGroup(click.Group):
    """Commands whose names begin alike, found in the catalog: all of them, or a family such as `cluster init`."""

    def __init__(self, prefix: str, **rest: Any) -> None:
        self.prefix = prefix
        super().__init__(prefix.strip() or "presencedb", invoke_without_command=True, **rest)

    @property
    def entries(self) -> list[Entry]:
        """The commands in it."""
        return [entry for entry in CATALOG.values() if entry.name.startswith(self.prefix)]

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(dict.fromkeys(entry.name.removeprefix(self.prefix).split()[0] for entry in self.entries))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = self.prefix + cmd_name
        if name in CATALOG:
            return CatalogCommand(CATALOG[name])
        return Family(name) if any(known.startswith(f"{name} ") for known in CATALOG) else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        command = self.get_command(ctx, word)
        if command is None and not ctx.resilient_parsing:
            raise click.UsageError(f"no such command {self.prefix}{word}{self._nearest(ctx, word)}", ctx)
        return word, command, args[1:]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _usage_of(ctx, ""):
            return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section in dict.fromkeys(entry.section for entry in self.entries):
            with formatter.section(section):
                formatter.write_dl([(entry.name, entry.line) for entry in self.entries if entry.section == section])

    def _nearest(self, ctx: click.Context, word: str) -> str:
        """Of the whole names, or of the last words where somebody left the first out."""
        by_last_word = {name.rpartition(" ")[2]: name for name in CATALOG if " " in name}
        if not self.prefix and word in by_last_word:
            return f"; did you mean {by_last_word[word]}?"
        return nearest(self.prefix + word, [self.prefix + known for known in self.list_commands(ctx)])


class Family(CatalogGroup):
    """The commands behind one first word."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} ", help=FAMILIES[name], callback=click.pass_context(_without_command))


class Root(CatalogGroup):
    """`presencedb` itself."""

    def __init__(self) -> None:
        super().__init__(
            "",
            callback=click.pass_context(_without_command),
            help="The store behind the green dot: who is online, for many users, with offline events on time.",
            params=[click.Option(["--version"], is_flag=True, help="Show the version.")],
        )

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            formatter.write_dl(
                [
                    ("presencedb serve", "start a server"),
                    ("presencedb heartbeat 42", "in another terminal: 42 is online"),
                    ("presencedb status 42", "ask"),
                    ("presencedb COMMAND --help", "more about a command"),
                ]
            )
        with formatter.section("Shell completion, for bash (zsh and fish likewise)"):
            # Not as text, which would be broken into lines that cannot be pasted.
            formatter.write(f"{' ' * formatter.current_indent}{COMPLETION}\n")


def _code_of(entry: Entry) -> Any:
    try:
        return importlib.import_module(entry.module)
    except ImportError as error:
        # Forcing an implementation that is not there fails at import; so would a broken installation, with a traceback.
        if os.environ.get(ENVIRONMENT_VARIABLE):
            raise ConfigError(str(error)) from None
        raise


def _without_command(ctx: click.Context, version: bool = False) -> None:
    if version:
        click.echo(f"presencedb {__version__}")
        ctx.exit()
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(2)


@contextmanager
def _usage_of(ctx: click.Context, command: str) -> Iterator[None]:
    """Word what is wrong with flags in our own way, and name the command whose help to read."""
    try:
        yield
    except click.NoSuchOption as error:
        raise click.UsageError(_no_such_option(error.option_name, command), ctx) from None
    except click.UsageError as error:
        error.ctx = error.ctx or ctx
        raise


def _no_such_option(name: str, command: str) -> str:
    """A message for an unknown flag: who takes it, if anybody does, else what is near."""
    bare_name = name.removeprefix("--")
    row = OPTIONS.get(bare_name.removeprefix("no-"))
    if row is not None and (not row.metavar or row.name == bare_name):  # only a switch has its --no-
        takers = ", ".join(taker for taker in CATALOG if taker in row.commands)
        return (
            f"no option {name} here; it goes behind {takers}"
            if not command
            else (f"{command} has no option {name}; it belongs to {takers}")
        )
    known = [option.flag for option in options_of(command)] if command else ["--version", "--help"]
    return f"no such option {name}{nearest(name, [*known, '--help'])}"
