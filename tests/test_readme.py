"""The README, run word for word: the blocks of each quickstart against the server that its first block starts, and each
output compared with the block that shows it.

What is replaced are the ports, the id of a process and the folder of the environment, for the machine that runs the tests
may use the real ports, and another folder than `.venv`. The server picks free ports by variables in its environment, so that
its command stays as it is; the command line finds it by PRESENCEDB_URL, which is what stands in the README as its default;
in the other blocks the numbers are exchanged. (A network namespace would need no replacing, but many machines allow none.)
Moments in outputs are compared by their form, and so are the numbers of a cluster's status. A block in `text` after one that
runs is what it prints; `text` elsewhere is for reading.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from presencedb import limits
from tests.support.process import clean_environment
from tests.support.programs import require_program
from tests.support.sources import PACKAGE, ROOT
from tests.support.waiting import wait_until

README: Final = ROOT / "README.md"
ENVIRONMENT_FOLDER: Final = Path(sys.prefix)
TCP_PORT: Final = "7411"
HTTP_PORT: Final = "7412"
START_OF_CLUSTER: Final = "presencedb cluster up\n"
STATUS_OF_CLUSTER: Final = "presencedb cluster status\n"
PID: Final = "4711"
"""Of the node that the README kills."""
PLACE: Final = re.compile(r"127\.0\.0\.1:\d+|pid=\d+")
BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
LINK: Final = re.compile(r"\]\(([^)#]+)\)")
DEADLINE_S: Final = 60.0


@dataclass(frozen=True)
class Step:
    """A block that runs, and what the README says that it prints; None where it says nothing."""

    language: str
    code: str
    output: str | None


def steps() -> list[Step]:
    """What the README has one run, in order."""
    blocks = BLOCK.findall(README.read_text(encoding="utf-8"))
    following = [*blocks[1:], ("", "")]
    return [
        Step(language, code, after[1] if after[0] == "text" else None)
        for (language, code), after in zip(blocks, following, strict=True)
        if language in ("sh", "python")
    ]


class Server:
    """A block of the README that goes on, running."""

    def __init__(self, folder: Path, code: str) -> None:
        self._output = folder / "stdout"
        environment = clean_environment(
            {
                "PRESENCEDB_LISTEN": "127.0.0.1:0",
                "PRESENCEDB_HTTP": "127.0.0.1:0",
                "PRESENCEDB_TTL": "10m",  # a slow machine may take its time between the blocks
                "VENV": str(ENVIRONMENT_FOLDER),
            }
        )
        environment["PATH"] = f"{ENVIRONMENT_FOLDER}/bin{os.pathsep}{environment['PATH']}"
        with self._output.open("w") as stdout, (folder / "stderr").open("w") as stderr:
            self.process = subprocess.Popen(
                ["bash", "-e", "-c", f"exec {code}"],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self.ready_lines: list[str] = []
        self._replaced: dict[str, str] = {}

    def wait_until_ready(self) -> None:
        def lines() -> list[str]:
            assert self.process.poll() is None, "the server ended"
            ready = [line for line in self._output.read_text().splitlines() if line.startswith("ready ")]
            return ready if ready and "http=" in ready[-1] else []

        self.ready_lines = wait_until(lines, DEADLINE_S, what="the ready line")
        tcp, http = re.findall(r"127\.0\.0\.1:(\d+)", " ".join(self.ready_lines))[-2:]
        self._replaced = {TCP_PORT: tcp, HTTP_PORT: http}
        if pids := re.findall(r"pid=(\d+)", self.ready_lines[0]):
            self._replaced[PID] = pids[0]

    def end(self) -> None:
        """Ask it to end; it does so cleanly, and `make` says by which signal it was asked to."""
        os.killpg(self.process.pid, signal.SIGTERM)
        assert self.process.wait(DEADLINE_S) in (0, -signal.SIGTERM)

    def kill(self) -> None:
        """End what is left of it."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def here(self, text: str) -> str:
        """A text of the README for this server and this environment."""
        text = text.replace(".venv/", f"{ENVIRONMENT_FOLDER}/")
        return re.sub(rf"\b({'|'.join(self._replaced)})\b", lambda match: self._replaced[match[1]], text)


def start_of_server() -> str:
    """The first block, or where its `make` would install something first, what it does after that."""
    stamp, project = ENVIRONMENT_FOLDER / ".installed", ROOT / "pyproject.toml"
    code = steps()[0].code
    assert code == "make serve\n"
    if stamp.exists() and stamp.stat().st_mtime >= project.stat().st_mtime:
        return code
    return f"{ENVIRONMENT_FOLDER}/bin/presencedb serve"


@contextmanager
def running(folder: Path, code: str) -> Iterator[Server]:
    """A block that goes on, from its ready line to its clean end."""
    server = Server(folder, code)
    try:
        server.wait_until_ready()
        yield server
        server.end()
    finally:
        server.kill()


def outcome(language: str, code: str, url: str) -> str:
    """What a block prints; it has to succeed."""
    program = ["bash", "-e"] if language == "sh" else [f"{ENVIRONMENT_FOLDER}/bin/python"]
    environment = clean_environment({"PRESENCEDB_URL": url})
    environment["PATH"] = f"{ENVIRONMENT_FOLDER}/bin{os.pathsep}{environment['PATH']}"
    result = subprocess.run(
        program, input=code, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=DEADLINE_S, check=False
    )
    assert result.returncode == 0, f"{code}\n{result.stderr}"
    return result.stdout


def quickstarts() -> list[list[Step]]:
    """The steps, divided where another server is started."""
    listed = steps()
    second = next(index for index, step in enumerate(listed) if step.code == START_OF_CLUSTER)
    return [listed[:second], listed[second:]]


@pytest.mark.parametrize("index", [0, 1], ids=["one server", "a cluster"])
def test_the_readme_runs_word_for_word(index: int, tmp_path: Path) -> None:
    for program in ("bash", "make", "curl"):
        require_program(program)
    first, *others = quickstarts()[index]
    assert first.output is not None
    with running(tmp_path, first.code if index else start_of_server()) as server:
        shown = server.here(first.output).splitlines()
        assert [PLACE.sub("PLACE", line) for line in server.ready_lines] == [PLACE.sub("PLACE", line) for line in shown]
        assert {step.language for step in others} == ({"sh"} if index else {"sh", "python"})
        run_all(server, others)


def run_all(server: Server, steps_to_run: list[Step]) -> None:
    """Run the blocks one after the other, and hold what they print against what the README shows."""
    for step in steps_to_run:
        printed = outcome(step.language, server.here(step.code), server.here(f"presence://127.0.0.1:{TCP_PORT}"))
        if step.output is not None:
            assert form(step, printed) == form(step, server.here(step.output))


def form(step: Step, output: str) -> str:
    """An output without what differs from one time to the next."""
    text = MOMENT.sub("TIME", output).strip()
    return re.sub(r"\d+", "NUMBER", text) if step.code == STATUS_OF_CLUSTER else text


def test_every_page_and_file_that_is_linked_exists() -> None:
    for page in [README, *sorted((ROOT / "docs").glob("*.md"))]:
        for target in LINK.findall(page.read_text(encoding="utf-8")):
            if not target.startswith(("http:", "https:")):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_page_is_linked() -> None:
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")}
    assert pages <= set(LINK.findall(README.read_text(encoding="utf-8")))


def test_the_walk_names_every_folder_of_the_package_and_every_file_of_the_ground() -> None:
    walk = README.read_text(encoding="utf-8").partition("## The source, file by file")[2]
    folders = {path.parent.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("__init__.py")} - {"presencedb"}
    ground = {path.relative_to(ROOT).as_posix() for path in PACKAGE.glob("*.py")}
    ground -= {"presencedb/__init__.py", "presencedb/__main__.py", "presencedb/version.py"}
    named = set(LINK.findall(walk))
    assert {f"{folder}/__init__.py" for folder in folders} <= named
    assert ground <= named


def test_the_limits_are_those_of_the_code() -> None:
    text = README.read_text(encoding="utf-8").partition("## Limits")[2].partition("\n## ")[0]
    for shown in (
        f"{limits.ID_TEXT_BYTES_MAX} bytes of UTF-8",
        f"up to {limits.ID_INT_MAX}",
        f"{limits.TTL_MS_MAX // limits.DAY_MS} days",
        f"{limits.TICK_MS_MIN} to {limits.TICK_MS_MAX} ms",
        f"a frame | {limits.FRAME_BYTES_MAX // limits.MIB} MiB",
        f"ids in a frame | {limits.IDS_PER_FRAME_MAX:,}",
        f"ids in an HTTP call | {limits.HTTP_IDS_MAX:,}",
        f"on a connection | {limits.REQUESTS_IN_FLIGHT_MAX:,}",
        f"{limits.FEED_EVENTS_MAX:,}, and {limits.FEED_BYTES_MAX // limits.MIB} MiB",
    ):
        assert shown in text
