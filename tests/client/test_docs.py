"""`docs/client.md`, held against the code: every example runs and prints what it should, every call is listed."""

from __future__ import annotations

import asyncio
import inspect
import re
import subprocess
import sys
import textwrap
from typing import Any, Final

import pytest

import presencedb
from presencedb import AsyncClient, Error
from tests.client.running import running_node
from tests.support.process import clean_environment
from tests.support.sources import ROOT

PAGE: Final = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NOT_FROM_A_CLIENT: Final = {"ListenError"}
FRAME: Final = """
import asyncio
import presencedb

async def main():
    async with presencedb.AsyncClient("presence://127.0.0.1:7411") as db:
{body}

asyncio.run(main())
"""


def examples() -> list[tuple[str, str]]:
    """Each Python block with what the page says that it prints."""
    blocks = BLOCK.findall(PAGE)
    following = [*blocks[1:], ("", "")]
    return [
        (code, after[1] if after[0] == "text" else "")
        for (language, code), after in zip(blocks, following, strict=True)
        if language == "python"
    ]


def section(title: str) -> str:
    """The text under a heading."""
    return PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize("number", range(len(examples())))
async def test_examples_print_what_the_page_says(number: int) -> None:
    code, output = examples()[number]
    if "asyncio.run(" not in code:
        code = FRAME.format(body=textwrap.indent(code, " " * 8))
    async with running_node() as node:
        assert node.tcp_address is not None
        code = code.replace("7411", str(node.tcp_address[1]))
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-W", "error", "-c", code],
            capture_output=True,
            text=True,
            env=clean_environment(),
            timeout=40,
            check=False,
        )
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == output


def written(function: Any) -> str:
    """A signature as the page writes it: names, stars and defaults."""
    parameters = []
    star_given = False
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind is parameter.VAR_POSITIONAL:
            star_given = True
        elif parameter.kind is parameter.KEYWORD_ONLY and not star_given:
            parameters.append("*")
            star_given = True
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        star = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
        parameters.append(f"{star}{parameter.name}{default}")
    return f"{function.__name__}({', '.join(parameters)})"


def test_the_table_lists_every_call_with_its_parameters() -> None:
    shown = re.findall(r"^\| `([^`]+)` \|", section("Calls"), re.MULTILINE)
    listed = {re.sub(r"^(await|async with|async for \w+ in) ", "", text) for text in shown}
    public = {name: value for name, value in vars(AsyncClient).items() if not name.startswith("_")}
    assert listed == {written(value) if inspect.isfunction(value) else name for name, value in public.items()}


def test_the_table_lists_every_option_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", section("Options"), re.MULTILINE))
    parameters = inspect.signature(AsyncClient).parameters
    assert list(rows) == [name for name in parameters if name != "url"]
    for name, parameter in parameters.items():
        if isinstance(parameter.default, float):
            assert rows[name] == str(parameter.default)
    assert rows["client_name"] == f"`{parameters['client_name'].default}`"
    assert f'url="{parameters["url"].default}"' in section("Options")


def test_the_table_lists_every_error() -> None:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", section("Errors"), re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    errors = {name for name in presencedb.__all__ if inspect.isclass(getattr(presencedb, name))}
    errors = {name for name in errors if issubclass(getattr(presencedb, name), Error)}
    parents = {"Error", "RequestError", "ServerError", "ClientError"}
    assert listed == errors - parents - NOT_FROM_A_CLIENT
    assert all(parent in section("Errors") for parent in parents)


def test_links_lead_somewhere() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors
