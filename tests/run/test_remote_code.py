"""A model that brings code of its own: run when asked for, saved with it, and loaded again."""

from __future__ import annotations

from pathlib import Path

import pytest

import headstart as hs
from headstart.errors import ModelError
from tiny_code import settings_with_code


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Settings for a model of unknown type, its code beside it."""
    return settings_with_code(tmp_path, monkeypatch, "ownbert") | {"out": tmp_path / "run"}


def test_code_of_a_models_own_runs_when_asked_for(
    settings: dict[str, object], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="--trust-remote-code"):
        hs.fit(**settings)
    result = hs.fit(**settings, trust_remote_code=True)
    assert (tmp_path / "run" / "model" / "own_code.py").is_file()
    with pytest.raises(ModelError, match="--trust-remote-code"):
        hs.load(result)
    data = tmp_path / "validation.csv"
    again = hs.evaluate(result, data, trust_remote_code=True)
    assert again == pytest.approx(result.scores, abs=1e-6)
