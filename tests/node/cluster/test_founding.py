"""The first start of a member is told from a restart by a record that nothing but itself can have written."""

from __future__ import annotations

from pathlib import Path

import pytest

from presencedb.errors import ConfigError
from presencedb.node.cluster.founding import Founding


def test_without_a_data_directory_no_start_is_the_first() -> None:
    founding = Founding(None, "c", "n1")
    assert not founding.is_first_start
    founding.record()


def test_the_first_start_is_the_one_before_the_record(tmp_path: Path) -> None:
    assert Founding(tmp_path / "new", "c", "n1").is_first_start
    founding = Founding(tmp_path / "new", "c", "n1")
    assert founding.is_first_start, "the one before ended before it knew anything"
    founding.record()
    assert not Founding(tmp_path / "new", "c", "n1").is_first_start


@pytest.mark.parametrize(("cluster", "member"), [("other", "n1"), ("c", "n2")])
def test_the_data_of_another_are_refused(tmp_path: Path, cluster: str, member: str) -> None:
    Founding(tmp_path, "c", "n1").record()
    with pytest.raises(ConfigError, match="this is the data of"):
        Founding(tmp_path, cluster, member)


def test_a_record_that_cannot_be_read_is_no_first_start(tmp_path: Path) -> None:
    (tmp_path / "member.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be read"):
        Founding(tmp_path, "c", "n1")
