"""Continuous integration, pre-commit and the Makefile check the same things."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def check_targets() -> list[str]:
    """Return the prerequisites of ``make check``."""
    found = re.search(r"^check: ([a-z -]+) ##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found
    return found[1].split()


def test_pre_commit_runs_what_make_check_runs() -> None:
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = [hook["entry"].removeprefix("make ") for repo in repos for hook in repo["hooks"]]
    assert hooks == check_targets()
    assert {repo["repo"] for repo in repos} == {"local"}, "a remote hook brings its own version"


def test_continuous_integration_runs_tests_and_checks() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in lines if line.startswith("make ")] == ["make test-all", "make check"]


def test_make_test_leaves_out_what_is_marked_all_and_make_test_all_nothing() -> None:
    found = re.findall(r"^\t@.*-m pytest (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    few, everything = found
    assert few == f'{everything} -m "not all"'
    assert "-m " not in everything


def test_tools_are_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = [r.split("==")[0] for r in project["optional-dependencies"]["dev"] if "==" in r]
    assert {"ruff", "mypy", "pydoclint"} <= set(pinned)


def test_the_tables_in_the_documentation_are_those_of_today(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    fill = runpy.run_path(str(ROOT / "scripts" / "docs_tables.py"))["fill"]
    pages = sorted((ROOT / "docs").rglob("*.md"))
    marks = sum(page.read_text(encoding="utf-8").count("<!-- generated") for page in pages)
    assert marks >= 10
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert fill(text) == text, f"{page.name}: run `make format`"
        assert text.count("<!-- generated") == text.count("<!-- end of it -->")


def test_every_tuner_and_technique_has_the_page_of_today() -> None:
    faults = runpy.run_path(str(ROOT / "scripts" / "docs_cards.py"))["faults"]
    assert faults(ROOT / "docs") == [], "run `make format`"
