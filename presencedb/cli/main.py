"""The entry point: runs a command, and turns whatever went wrong into one line on stderr and an exit status.

0 fine, 1 failed, 2 bad usage; 130 for a client command that was interrupted, 141 for one whose reader went away.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Final

import click
from click.shell_completion import shell_complete

from presencedb.cli.parsing import HELP_WIDTH, Root
from presencedb.errors import EXIT_FAILED, EXIT_USAGE, Error

PROGRAM: Final = "presencedb"
COMPLETE_VARIABLE: Final = "_PRESENCEDB_COMPLETE"
EXIT_INTERRUPTED: Final = 130
EXIT_BROKEN_PIPE: Final = 141


def main() -> None:
    """Run the command line of this process, and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None where the descriptor is closed
            stream.reconfigure(errors="backslashreplace")
    try:
        if (instruction := os.environ.get(COMPLETE_VARIABLE)) is not None:
            return shell_complete(Root(), {}, PROGRAM, COMPLETE_VARIABLE, instruction)
        _run_command(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx is not None else PROGRAM
        return _fail(f"{error.format_message()}\nTry `{path} --help`.", EXIT_USAGE)
    except Error as error:
        return _fail(error.message, error.exit_status)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _drop_stdout()
        return EXIT_BROKEN_PIPE
    except OSError as error:
        _drop_stdout()
        return _fail(error.strerror or str(error), EXIT_FAILED)
    return 0


def _run_command(arguments: list[str]) -> None:
    # Not `Root().main()`: that has its own ideas of what to say and how to exit.
    root = Root()
    with root.make_context(PROGRAM, arguments, max_content_width=HELP_WIDTH) as context:
        root.invoke(context)


def _fail(message: str, status: int) -> int:
    click.echo(f"{PROGRAM}: {message}", err=True)
    return status


def _drop_stdout() -> None:
    # What is still in the buffer would fail again, with a traceback, when the interpreter flushes it at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
