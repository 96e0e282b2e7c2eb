"""Studies and analyses of every kind of input and target: their pages, or a refusal by name."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import tiny_kinds
import tiny_studies
from alike import ALL
from headstart.analysis import ANALYSES
from headstart.cli import app
from headstart.study import request

METRICS = {
    "tags": "entity_f1", "tags in windows": "entity_f1", "several labels": "micro_f1 + macro_f1",
    "pictures": "accuracy", "sounds": "accuracy",
}  # fmt: skip
"""What their pages tell scores of."""
REFUSED = {
    ("calibration", name): "one class for each row"
    for name in ("tags", "tags in windows", "several labels")
}
"""Analyses that have no meaning, and what the message says."""
SHORT = ("--epochs", "0.5")
SETTINGS = {
    "convergence": SHORT, "head": SHORT, "rank": (*SHORT, "--ranks", "1,2"), "reserve": SHORT,
    "share": ("--epochs", "1", "--shares", "0,0.5"),
}  # fmt: skip
"""Options that keep them short; stage 1 ends when its head has learned, or takes its epochs."""
CHEAP = {("drift", kind) for kind in tiny_kinds.KINDS} | {("calibration", "tags")}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Options for each kind."""
    root = tmp_path_factory.mktemp("kinds")
    found = {}
    for name in tiny_kinds.KINDS:
        own = tiny_kinds.settings(name, root / name.replace(" ", "-"))
        own.pop("guard")
        found[name] = [*tiny_kinds.options(own), "--set", "guard=false"]
    return found


def invoke(*words: Any) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def text(page: Path) -> str:
    """Return what a page says to a reader."""
    bare = re.sub(r"<(script|style).*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", bare)).split())


@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=ALL if k == "tags in windows" else []) for k in tiny_kinds.KINDS],
)
def test_a_study_and_its_page_tell_the_metrics_and_units_of_the_kind(
    kind: str, given: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "choose_executor", lambda *_: tiny_studies.Here())
    lines = "full(steps=1),head(steps=2, head_lr=1e-2) > full(steps=1)"
    done = invoke(
        "study", "run", *given[kind], "--strategies", lines, "--seeds", 2, "--out", tmp_path / "x"
    )
    assert done.exit_code == 0, done.output
    assert invoke("report", tmp_path / "x").exit_code == 0
    told = text(tmp_path / "x" / "report.html")
    assert "4 of 4 runs finished, 0 failed" in told
    assert f"{METRICS[kind]} in %, against full(steps=1)" in told
    soup = invoke(
        "study", "soup", tmp_path / "x", "--strategy", "full(steps=1)", "--out", tmp_path / "soup"
    )
    assert soup.exit_code == 0, soup.output
    assert "score" in json.loads((tmp_path / "soup" / "result.json").read_text())["last"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=[] if (name, kind) in CHEAP else [ALL])
        for name in ANALYSES
        for kind in tiny_kinds.KINDS
    ],
)
def test_an_analysis_has_its_page_or_is_refused_by_name(
    name: str,
    kind: str,
    given: dict[str, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = tiny_studies.Here()
    monkeypatch.setattr(request, "choose_executor", lambda *_: here)
    words = ["--strategies", "full(steps=1)"] if ANALYSES.get(name).strategies else []
    words += SETTINGS.get(name, ())
    done = invoke("analyze", name, *given[kind], *words, "--seeds", 1, "--out", tmp_path / "x")
    if (name, kind) in REFUSED:
        assert done.exit_code != 0
        assert REFUSED[name, kind] in str(done.exception)
        assert not here.done
        return
    assert done.exit_code == 0, done.output
    assert f"Score: {METRICS[kind]} in %" in text(tmp_path / "x" / f"{name}.html")
