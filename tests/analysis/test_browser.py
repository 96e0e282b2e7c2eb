"""Pages of the analyses in a browser: figures are drawn, phones can read, markup stays text."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tiny_analyses as made
from alike import ALL, spread
from headstart.analysis import ANALYSES
from headstart.analysis._page import page
from headstart.observers import OBSERVERS
from tiny_records import NASTY

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
LINES = ["full", "bitfit(epochs=2.5, lr=0.001) > full", "head > full"]
WIDE, PHONE = 1280, 390


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start Chromium."""
    with playwright.sync_playwright() as started:
        # Without a sandbox of its own, it also runs in a container.
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def written(name: str, folder: Path) -> str:
    """Write the page of an analysis on two tasks, one of which is named by markup."""
    found = made.whole(name, LINES, ("reviews", NASTY))
    path = folder / f"{name}.html"
    text = page(ANALYSES.get(name).title, found, f"headstart {NASTY}", [NASTY])
    path.write_text(text, encoding="utf-8")
    return path.as_uri()


def test_every_observer_has_measurements_set_by_hand() -> None:
    missing = set(OBSERVERS) - set(made.MEASURED)
    assert not missing, f"give tests/tiny_analyses.py what is measured for {sorted(missing)}"


WIDER = "(all, width) => all.filter(e => e.getBoundingClientRect().right > width + 1).length"
BLANK = "plots => plots.filter(plot => !plot.querySelector('svg.main-svg')).length"
OUT = """plots => plots.flatMap(plot => {
  const box = plot.getBoundingClientRect();
  return [...plot.querySelectorAll('.ytick text, .xtick text, .legend text, .colorbar text')]
    .map(text => [text, text.getBoundingClientRect()])
    .filter(([_, at]) => at.left < box.left - 1 || at.right > box.right + 1
                      || at.top < box.top - 1 || at.bottom > box.bottom + 1)
    .map(([text]) => text.textContent);
})"""


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    spread(itertools.product(ANALYSES, (WIDE, PHONE), ("light", "dark")), times=1),
)
def test_a_page_is_whole_in_every_width_and_scheme(
    browser: Any, tmp_path: Path, name: str, width: int, scheme: str
) -> None:
    size = {"width": width, "height": 800}
    opened = browser.new_page(viewport=size, color_scheme=scheme)
    faults: list[str] = []
    opened.on("console", lambda message: faults.append(message.text))
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    opened.on("request", lambda asked: faults.extend([asked.url] * (
        not asked.url.startswith(("file://", "data:", "blob:")))))  # fmt: skip
    opened.goto(written(name, tmp_path))
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    plots = opened.locator(".plot")
    assert plots.count() > 0
    assert plots.evaluate_all(BLANK) == 0
    assert plots.evaluate_all(OUT) == []
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    seen = opened.locator("main p, main li, main h3, figure, .plot, pre, .scroll")
    assert seen.evaluate_all(WIDER, width) == 0
    assert opened.locator("main script, main img").count() == 0
    assert NASTY in opened.locator("main").text_content()
    names = "all => all.map(e => e.id).filter((id, i, ids) => ids.indexOf(id) !== i)"
    assert opened.locator("html:not(svg) > * [id]:not(svg [id])").evaluate_all(names) == []
    opened.close()
    assert faults == []


SHADES = """plots => plots.map(plot => plot.calcdata[0][0].trace.colorscale)
  .map(scale => scale.map(([_, colour]) => colour))"""
COUNTED = "colour => colour.match(/\\w\\w/g).reduce((sum, part) => sum + parseInt(part, 16), 0)"


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=ALL)])
def test_a_greater_change_stands_out_from_the_page(
    browser: Any, tmp_path: Path, scheme: str
) -> None:
    opened = browser.new_page(color_scheme=scheme)
    opened.goto(written("change", tmp_path))
    for scheme_now in (scheme, "light" if scheme == "dark" else "dark"):
        opened.evaluate("dispatchEvent(new Event('beforeprint'))")
        (least, half, most), *_ = opened.locator(".plot").evaluate_all(SHADES)
        shades = [opened.evaluate(COUNTED, colour) for colour in (least, half, most)]
        assert shades == sorted(shades, reverse=scheme_now == "light")
        assert abs(shades[0] - shades[2]) > 300
        opened.locator("#scheme").click()
    opened.close()
