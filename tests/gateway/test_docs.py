"""`docs/http.md` says what the code does: its tables, and every curl line by running it against real servers."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from presencedb import limits
from presencedb.gateway.problems import PROBLEMS
from presencedb.gateway.routes import ROUTES
from presencedb.gateway.settings import JWT_LEEWAY_S
from tests.support.process import FREE_PORTS, ServerProcess, clean_environment
from tests.support.programs import require_program

PAGE: Final = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")
ADDRESS: Final = "127.0.0.1:7412"
MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
SEPARATOR: Final = "--- next ---"
DEADLINE_S: Final = 60.0
LIMITS: Final = {
    "ids in a call": limits.HTTP_IDS_MAX,
    "bytes of a request line": limits.HTTP_LINE_BYTES_MAX,
    "bytes of a header field": limits.HTTP_FIELD_BYTES_MAX,
    "header fields": limits.HTTP_FIELDS_MAX,
    "bytes of a body": limits.HTTP_BODY_BYTES_MAX,
    "seconds that a body may take": limits.HTTP_BODY_WAIT_S,
    "seconds that a connection may sit idle, or take for the head of a request": limits.HTTP_KEEP_ALIVE_S,
    "seconds of leeway for the times in a token": JWT_LEEWAY_S,
}


def blocks(kind: str) -> list[str]:
    """The contents of the fenced blocks whose fence says exactly this."""
    return re.findall(rf"^```{re.escape(kind)}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def rows(header: str) -> Iterator[list[str]]:
    """The cells of the rows of the table with this header."""
    table = PAGE.partition(f"\n{header}\n")[2]
    assert table, f"no table {header}"
    for line in table.splitlines()[1:]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split(" | ")]


def test_table_of_calls_is_the_table_of_routes() -> None:
    documented = [(call.strip("`"), right, help_.replace("`", "")) for call, right, help_ in rows("| call | right | does |")]
    assert documented == [(f"{route.method} {route.path}", route.right or "-", route.help) for route in ROUTES]


def test_table_of_limits() -> None:
    assert {name: float(value.replace(",", "")) for name, value in rows("| limit | value |")} == LIMITS


def test_table_of_errors_is_the_table_of_problems() -> None:
    documented = [
        (int(status), code.strip("`")) for status, codes, _ in rows("| status | code | when |") for code in codes.split(", ")
    ]
    assert sorted(documented) == sorted((status, code) for status, codes in PROBLEMS.items() for code in codes)


def steps(kind: str) -> list[tuple[str, str]]:
    """The commands of all blocks of a kind, each with what it is to print."""
    found: list[tuple[str, str]] = []
    for line in "".join(blocks(kind)).splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        else:
            command, printed = found.pop()
            found.append((command, f"{printed}{line}\n"))
    return found


def run_steps(kind: str, server: ServerProcess, folder: Path) -> None:
    """Run the commands in one shell, and hold what each prints against the page."""
    documented = steps(kind)
    assert len(documented) >= 7
    address = "{}:{}".format(*server.http)
    script = "".join(f"{command.replace(ADDRESS, address)}\necho; echo '{SEPARATOR}'\n" for command, _ in documented)
    environment = clean_environment()
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    printed = done.stdout.split(f"{SEPARATOR}\n")[:-1]
    for (command, expected), actual in zip(documented, printed, strict=True):
        assert MOMENT.sub("MOMENT", actual.strip()) == MOMENT.sub("MOMENT", expected.strip()), command


def test_examples_without_keys(tmp_path: Path) -> None:
    require_program("curl")
    with ServerProcess("serve", *FREE_PORTS) as server:
        run_steps("console", server, tmp_path)


def test_examples_with_keys(tmp_path: Path) -> None:
    require_program("curl")
    (keys,) = blocks("text api.keys")
    (tmp_path / "api.keys").write_text(keys, encoding="utf-8")
    (tmp_path / "jwt.key").write_text("0123456789abcdef" * 4 + "\n", encoding="utf-8")
    files = ["--api-keys", str(tmp_path / "api.keys"), "--jwt-key", str(tmp_path / "jwt.key")]
    with ServerProcess("serve", *FREE_PORTS, *files) as server:
        run_steps("console keys", server, tmp_path)
