"""The pages of the examples: their links lead somewhere, and their commands are those of the programs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

import pytest

from tests.examples.running import EXAMPLES

PAGES: Final = sorted(EXAMPLES.rglob("*.md"))
LINK: Final = re.compile(r"\]\(([^)#]+)(#[^)]*)?\)")
SHELL: Final = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def name(page: Path) -> str:
    return page.relative_to(EXAMPLES).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, _ in LINK.findall(page.read_text(encoding="utf-8")):
        assert target.startswith("https:") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_name_programs_and_options_that_exist(page: Path) -> None:
    for block in SHELL.findall(page.read_text(encoding="utf-8")):
        for line in block.splitlines():
            words = shlex.split(line)
            if words[0] == "python":
                program = (page.parent / words[1]).read_text(encoding="utf-8")
                assert all(f'"{word}"' in program for word in words if word.startswith("--")), line
            if words[0] == "psql":
                assert (page.parent / words[-1]).exists(), line


def test_every_example_has_a_page_that_is_listed() -> None:
    listed = {target for target, _ in LINK.findall((EXAMPLES / "README.md").read_text(encoding="utf-8"))}
    folders = {path.parent.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*.py")}
    assert {f"{folder}/README.md" for folder in folders} <= listed
