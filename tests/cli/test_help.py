"""Help that teaches, completion, and the catalog held against the code."""

from __future__ import annotations

import importlib
import re
import shlex

import pytest

from presencedb.cli.catalog import CATALOG, Entry
from presencedb.cli.main import run
from presencedb.cli.parsing import CatalogCommand
from presencedb.config import OPTIONS, options_of
from presencedb.settings import read_settings
from presencedb.version import __version__
from tests.support.process import run_command

COMMANDS = pytest.mark.parametrize("entry", CATALOG.values(), ids=CATALOG)


def squeezed(text: str) -> str:
    """Text without the line breaks that depend on the width of the terminal."""
    return re.sub(r"\s+", " ", text)


def completions(words: str, index: int) -> set[str]:
    """What bash would offer for the word of this index."""
    result = run_command(
        environment={"_PRESENCEDB_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(index)}
    )
    assert result.stderr == ""
    return {line.partition(",")[2] for line in result.stdout.splitlines()}


def test_help_lists_every_command_and_how_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    text = squeezed(capsys.readouterr().out)
    for entry in CATALOG.values():
        assert f"{entry.name} {entry.line}" in text
    assert "presencedb serve start a server" in text
    assert 'eval "$(_PRESENCEDB_COMPLETE=bash_source presencedb)"' in text


@COMMANDS
def test_the_help_of_a_command_has_its_options_and_examples(entry: Entry, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*entry.name.split(), "--help"]) == 0
    text = squeezed(capsys.readouterr().out)
    assert entry.line in text
    for option in options_of(entry.name):
        assert squeezed(option.help) in text
        assert f"{option.group.value}: " in text
    for line, purpose in entry.examples:
        assert squeezed(f"{line} {purpose}") in text


@COMMANDS
def test_the_examples_of_a_command_are_good_usage(entry: Entry) -> None:
    for line, _ in entry.examples:
        program, *words = shlex.split(re.split(r" [|<] ", line)[0])
        length = len(entry.name.split())
        command, arguments = " ".join(words[:length]), words[length:]
        assert (program, command) == ("presencedb", entry.name)
        with CatalogCommand(entry).make_context(entry.name, arguments) as context:
            given = {name.replace("_", "-"): value for name, value in context.params.items() if value is not None}
        flags = {name: str(value).lower() if value is True else value for name, value in given.items()}
        flags.pop("ids", None)
        flags.pop("config", None)
        read_settings(entry.name, flags, {})


@COMMANDS
def test_every_command_has_its_code(entry: Entry) -> None:
    assert callable(importlib.import_module(entry.module).run)


def test_every_option_is_taken_by_commands_that_there_are() -> None:
    for option in OPTIONS.values():
        assert option.commands
        assert option.commands <= set(CATALOG)


def test_without_a_command_the_help_is_shown_and_it_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Run a node and the HTTP gateway in one process." in captured.err


def test_the_help_of_a_family_lists_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cluster", "--help"]) == 0
    text = squeezed(capsys.readouterr().out)
    for entry in CATALOG.values():
        assert (f"{entry.name} {entry.line}" in text) is entry.name.startswith("cluster ")
    assert run(["cluster"]) == 2
    assert "cluster init Write the list of members of a new cluster." in squeezed(capsys.readouterr().err)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"presencedb {__version__}\n"


@pytest.mark.parametrize(("shell", "mark"), [("bash", "complete "), ("zsh", "#compdef presencedb"), ("fish", "complete ")])
def test_completion_scripts_come_out(shell: str, mark: str) -> None:
    result = run_command(environment={"_PRESENCEDB_COMPLETE": f"{shell}_source"})
    assert result.returncode == 0
    assert mark in result.stdout
    assert "_PRESENCEDB_COMPLETE" in result.stdout


def test_the_help_has_a_line_for_completion_that_can_be_pasted() -> None:
    assert '  eval "$(_PRESENCEDB_COMPLETE=bash_source presencedb)"\n' in run_command("--help").stdout


def test_commands_options_and_values_are_completed() -> None:
    assert completions("presencedb st", 1) == {"status"}
    assert completions("presencedb ", 1) == {name.split()[0] for name in CATALOG}
    assert completions("presencedb cluster ", 2) == {"init", "up", "status", "members"}
    assert "--replicas" in completions("presencedb cluster up --", 3)
    assert {"--ttl", "--tick"} <= completions("presencedb serve --t", 2)
    assert completions("presencedb serve --log-format ", 3) == {"text", "json"}


def test_a_flag_can_be_taken_back() -> None:
    with CatalogCommand(CATALOG["count"]).make_context("count", ["--no-json"]) as context:
        assert context.params["json"] is False
