"""Builds that are older than their source are found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.compiled import SUFFIX, stale_parts

TABLE = """
[[tool.setuptools.ext-modules]]
name = "presencedb.ids._batch"
sources = ["presencedb/ids/_batch.pyx"]
depends = ["presencedb/ids/_hash.h"]
"""


@pytest.mark.parametrize(
    ("built_at_s", "stale"), [(None, []), (300, []), (150, ["presencedb.ids._batch"]), (50, ["presencedb.ids._batch"])]
)
def test_a_part_is_stale_when_any_of_its_files_is_newer(tmp_path: Path, built_at_s: int | None, stale: list[str]) -> None:
    (tmp_path / "pyproject.toml").write_text(TABLE)
    folder = tmp_path / "presencedb/ids"
    folder.mkdir(parents=True)
    times_s = {"_batch.pyx": 100, "_hash.h": 200} | ({} if built_at_s is None else {f"_batch{SUFFIX}": built_at_s})
    for name, time_s in times_s.items():
        (folder / name).touch()
        os.utime(folder / name, (time_s, time_s))
    assert stale_parts(tmp_path) == stale
