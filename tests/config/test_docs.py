"""The pages about options and commands, held against the tables that the code works with."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from presencedb.cli.catalog import CATALOG, Entry
from presencedb.config import OPTIONS, OTHER_VARIABLES, Group
from presencedb.settings import read_settings
from tests.config.reference import call_rows, examples_of, group_heading, option_row, usage_line, variable_row
from tests.support.sources import ROOT

CONFIGURATION = ROOT / "docs" / "configuration.md"
COMMAND_LINE = ROOT / "docs" / "cli.md"


def section(page: Path, heading: str) -> str:
    """The text under a heading, up to the next one of its level or above."""
    text = page.read_text(encoding="utf-8")
    assert f"\n{heading}\n" in text, f"{page.name} has no heading {heading!r}"
    rest = text.partition(f"\n{heading}\n")[2]
    return re.split(rf"\n#{{1,{heading.index(' ')}}} ", rest, maxsplit=1)[0]


def rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| `")]


@pytest.mark.parametrize("group", [group for group in Group if group is not Group.CALL])
def test_the_configuration_page_has_every_option_as_it_is(group: Group) -> None:
    expected = [option_row(option) for option in OPTIONS.values() if option.group is group]
    assert rows(section(CONFIGURATION, group_heading(group))) == expected


def test_the_configuration_page_has_every_other_variable() -> None:
    expected = [variable_row(name) for name in OTHER_VARIABLES]
    assert rows(section(CONFIGURATION, "## Variables that are not options")) == expected


def test_the_example_of_a_file_is_one() -> None:
    block = re.search(r"```toml\n(.*?)```", CONFIGURATION.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    document = tomllib.loads(block[1])
    settings = read_settings("serve", {key: str(value) for key, value in document.items()}, {})
    assert all(settings.given(OPTIONS[key]) for key in document)


@pytest.mark.parametrize("entry", CATALOG.values(), ids=CATALOG)
def test_the_command_line_page_has_every_command_as_it_is(entry: Entry) -> None:
    text = section(COMMAND_LINE, f"## presencedb {entry.name}")
    assert entry.line in text
    assert f"```text\n{usage_line(entry)}\n```" in text
    assert rows(text) == call_rows(entry)
    assert "```sh\n" + "\n".join(examples_of(entry)) + "\n```" in text


def test_the_pages_name_nothing_that_there_is_not() -> None:
    flags = {option.flag for option in OPTIONS.values()} | {"--help", "--version", "--no-json"}
    for page in (CONFIGURATION, COMMAND_LINE):
        text = page.read_text(encoding="utf-8")
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) <= flags
        sections = set(re.findall(r"^## presencedb (\S+(?: \S+)?)$", text, re.MULTILINE))
        assert sections <= set(CATALOG)
