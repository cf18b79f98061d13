"""A list of files reads back as it was written, whatever the recordings are called."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmret.data.log_mel_folder import LIST_NAME, open_log_mels, write_list
from mmret.data.tables import read_table

names = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1)


@settings(deadline=None)
@given(st.lists(st.tuples(names, st.integers(0, 10**9)), min_size=1))
def test_names_and_counts_come_back(rows: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_list(folder, [name for name, _ in rows], {"valid_features": [count for _, count in rows]})
        assert list(open_log_mels(folder).names) == [name for name, _ in rows]
        read = read_table(Path(folder) / LIST_NAME, required=["valid_features"])
        assert [int(row["valid_features"]) for row in read] == [count for _, count in rows]


def test_a_column_of_another_length_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shorter"):
        write_list(tmp_path, ["a", "b"], {"valid_features": [1]})
    assert not (tmp_path / LIST_NAME).exists()
