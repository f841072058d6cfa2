"""The runner of async tests: it runs them, and it fails those that leave something behind."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FAILING = {
    "a task left running": (
        """
        async def test_it():
            global task
            task = asyncio.create_task(asyncio.sleep(3600))
        """,
        "left tasks running",
    ),
    "an exception in a callback": (
        """
        async def test_it():
            asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        """,
        "nobody handled",
    ),
    "a task that nobody awaited fails": (
        """
        async def fail():
            raise ValueError("lost")

        async def test_it():
            asyncio.create_task(fail())
            await asyncio.sleep(0)
        """,
        "lost",
    ),
    "no end within the deadline": (
        """
        @pytest.mark.deadline(0.05)
        async def test_it():
            await asyncio.Event().wait()
        """,
        "did not end within 0.05 s",
    ),
    "a socket left open": (
        """
        async def test_it():
            left, right = socket.socketpair()
            right.close()
        """,
        "unclosed",
    ),
    "a transport left open": (
        """
        async def test_it():
            left, right = socket.socketpair()
            await asyncio.open_connection(sock=left)
            right.close()
        """,
        "unclosed",
    ),
    "an assertion": (
        """
        async def test_it():
            assert 1 == 2
        """,
        "assert 1 == 2",
    ),
}
PASSING = {
    "a task that was cancelled and not awaited": """
        async def test_it():
            asyncio.create_task(asyncio.sleep(3600)).cancel()
        """,
    "a fixture and a parameter": """
        @pytest.mark.parametrize("number", [1, 2])
        async def test_it(number, tmp_path):
            assert number in (1, 2) and tmp_path.is_dir()
        """,
    "its own TimeoutError": """
        async def test_it():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await asyncio.sleep(3600)
        """,
}


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_what_a_test_leaves_behind_fails_it(loop: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    cases = {**{name: source for name, (source, _) in FAILING.items()}, **PASSING}
    result = run(pytester, monkeypatch, loop, cases)
    lines = result.stdout.lines
    # What was left behind shows when the test ends or when it is torn down, as it pleases the version of Python.
    fallen = {line.split()[1].partition(".py")[0] for line in lines if line.startswith(("FAILED", "ERROR test_"))}
    assert fallen == {file_name(name) for name in FAILING}
    for name, (_, said) in FAILING.items():
        assert any(said in line for line in lines), name


def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, loop: str, cases: dict[str, str]) -> pytest.RunResult:
    """Run each case as a file of its own, in a pytest with the plugin and the project's strictness about warnings."""
    monkeypatch.setenv("PRESENCEDB_TEST_LOOP", loop)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeini("[pytest]\nfilterwarnings = error\naddopts = -p no:asyncio\n")
    head = "import asyncio\nimport socket\nimport pytest\n"
    pytester.makepyfile(**{file_name(name): head + textwrap.dedent(source) for name, source in cases.items()})
    return pytester.run(
        sys.executable, "-m", "pytest", "-p", "tests.support.async_tests", "-p", "no:cacheprovider", timeout=60
    )


def file_name(case: str) -> str:
    return "test_" + case.replace(" ", "_")


def test_an_unknown_loop_is_refused(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(pytester, monkeypatch, "curio", PASSING)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "there are asyncio and uvloop" in result.stderr.str()


async def test_this_very_test_runs_in_a_loop() -> None:
    assert asyncio.get_running_loop().is_running()
