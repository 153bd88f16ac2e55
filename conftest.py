"""Doctests run in a folder of their own that holds the examples, so what they write stays out of the project."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _folder_of_its_own(request: pytest.FixtureRequest) -> None:
    if isinstance(request.node, pytest.DoctestItem):
        folder = request.getfixturevalue("tmp_path")
        (folder / "examples").symlink_to(Path(__file__).parent / "examples")
        request.getfixturevalue("monkeypatch").chdir(folder)
