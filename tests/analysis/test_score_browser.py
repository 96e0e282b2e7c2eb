"""The figures of the analyses of scores in a browser: drawn, without a fault, names as text."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from analysis.score_cases import NAMES, case, variants, with_gains
from headstart.analysis import ANALYSES
from headstart.analysis._base import Findings
from headstart.analysis._page import page
from tiny_records import NASTY

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]


def test_every_figure_is_drawn_and_nothing_is_fetched(tmp_path: Path) -> None:
    found = [
        ANALYSES.get(name).findings([case(variants(name), with_gains({}), 3, NASTY)])
        for name in NAMES
    ]
    parts = ("sentences", "tables", "figures")
    every = Findings(*([x for f in found for x in getattr(f, part)] for part in parts), None)
    path = tmp_path / "page.html"
    path.write_text(page("All of them", every, "headstart"), "utf-8")
    faults: list[str] = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page()
        opened.on("console", lambda message: faults.append(message.text))
        opened.on("pageerror", lambda error: faults.append(str(error)))
        opened.on("request", lambda asked: faults.extend(
            [asked.url] * (not asked.url.startswith(("file://", "data:", "blob:")))))  # fmt: skip
        opened.goto(path.as_uri())
        opened.evaluate("dispatchEvent(new Event('beforeprint'))")
        plots = opened.locator(".plot")
        assert plots.count() == len(every.figures) == 5
        for place, figure in enumerate(every.figures):
            traces = plots.nth(place).locator(".scatterlayer .trace")
            traces.nth(len(figure.data) - 1).wait_for(state="attached")
            assert traces.count() == len(figure.data)
        ticks = opened.locator("#rank-0 .xtick text").all_text_contents()
        assert ticks == ["2", "8"]
        assert NASTY in opened.locator("figure h3").first.text_content()
        browser.close()
    assert faults == []
