"""A client in a forked process: the child connects anew, and the parent's connection is left alone."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from tests.client.running import running_node, url_of
from tests.support.async_tests import LOOPS
from tests.support.process import clean_environment
from tests.support.sources import ROOT

DEADLINE_S = 40


@pytest.mark.parametrize("loop", LOOPS)
async def test_parent_and_child_go_on_after_a_fork(loop: str) -> None:
    async with running_node() as node:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-W", "error", "-m", "tests.client.fork_script", url_of(node)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=clean_environment({"PRESENCEDB_TEST_LOOP": loop}),
            cwd=ROOT,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(DEADLINE_S):
                output, _ = await process.communicate()
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)  # its children too, which hold the pipe
            output, _ = await process.communicate()
        assert output.decode() == "fine\n"
        assert process.returncode == 0
