"""The report in a browser: nothing is fetched, figures are drawn, tables sort, phones can read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tiny_records as made
from alike import ALL
from headstart.report.page import build
from tiny_records import BITFIT, FULL, NASTY, PROBED

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Write a report on two tasks, one of which is named by markup, and one on that one alone."""
    lost = [made.failure(made.axes(FULL, 9, NASTY, 100), f"no file {NASTY} {'x' * 200}")]
    folder, found = tmp_path_factory.mktemp("report"), {}
    for name, tasks in (("two", ("reviews", NASTY)), ("one", (NASTY,))):
        study = made.evidence(
            made.noisy({BITFIT: 0.05, PROBED: 0.01}), (FULL, BITFIT, PROBED), 6,
            tasks, (100, 400), lost,
        )  # fmt: skip
        path: Path = folder / f"{name}.html"
        path.write_text(build(study), encoding="utf-8")
        found[name] = path.as_uri()
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start Chromium."""
    with playwright.sync_playwright() as started:
        # Without a sandbox of its own, it also runs in a container.
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(
    browser: Any, addresses: dict[str, str], request: pytest.FixtureRequest
) -> Iterator[Any]:
    """Open a report; at the end nothing may have been fetched and no error told."""
    size = getattr(request, "param", {})
    page = browser.new_page(**size)
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda asked: faults.extend([asked.url] * (
        not asked.url.startswith(("file://", "data:", "blob:")))))  # fmt: skip
    page.goto(addresses["one" if size else "two"])
    yield page
    page.close()
    assert faults == []


PHONE = {"viewport": {"width": 375, "height": 700}}
COLUMN = "rows => rows.map(row => row.cells[2].textContent)"


def test_every_figure_is_drawn_where_it_is_seen(opened: Any) -> None:
    plots = opened.locator(".plot")
    assert plots.count() == 8 + 12 + 4 + 2 + 4
    for place in range(plots.count()):
        plots.nth(place).scroll_into_view_if_needed()
        plots.nth(place).locator("svg.main-svg").first.wait_for(timeout=10_000)
    assert opened.locator(".plot .scatterlayer .trace").count() > plots.count()


@ALL
def test_before_printing_all_figures_are_drawn(opened: Any) -> None:
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    drawn = "plots => plots.every(plot => plot.querySelector('svg.main-svg'))"
    assert opened.locator(".plot").evaluate_all(drawn)


@pytest.mark.parametrize("key", ["", "Enter", pytest.param("Space", marks=ALL)])
def test_tables_sort_by_mouse_and_by_keyboard(opened: Any, key: str) -> None:
    table = opened.locator("table.sortable").first
    head = table.locator("thead th").nth(2)
    button = head.locator("button")
    assert head.get_attribute("aria-sort") == "none"
    for direction in ("ascending", "descending"):
        if key:
            button.focus()
            opened.keyboard.press(key)
        else:
            button.click()
        assert head.get_attribute("aria-sort") == direction
        cells = table.locator("tbody tr").evaluate_all(COLUMN)
        numbers = [float(cell.split()[0].rstrip("*")) for cell in cells]
        assert numbers == sorted(numbers, reverse=direction == "descending")
    assert table.locator("[aria-sort=ascending], [aria-sort=descending]").count() == 1


def test_cells_without_a_number_stand_last(opened: Any) -> None:
    table = opened.locator("table.sortable").first
    for _ in range(2):
        table.locator("thead button").nth(7).click()
        cells = table.locator("tbody tr").evaluate_all(COLUMN.replace("2", "7"))
        assert cells[-1] == "-"


@pytest.mark.parametrize("opened", [PHONE], indirect=True)
def test_a_phone_scrolls_only_down(opened: Any) -> None:
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    opened.locator("summary").click()
    assert opened.evaluate("document.documentElement.scrollWidth") <= 375
    box = opened.locator(".scroll").first
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    wide = "all => all.filter(each => each.getBoundingClientRect().right > 376).length"
    assert opened.locator("main p, main h3, figure, .plot, pre, .scroll").evaluate_all(wide) == 0


HEIGHTS = """plots => plots.map(plot => {
  const grid = plot.querySelector(".gridlayer").getBoundingClientRect();
  return [plot.getBoundingClientRect().height, grid.height];
})"""


@pytest.mark.parametrize("opened", [PHONE], indirect=True)
def test_figures_that_are_drawn_again_keep_their_size(opened: Any) -> None:
    plots = opened.locator(".plot")
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    before = plots.evaluate_all(HEIGHTS)
    for _ in range(2):
        opened.locator("#scheme").click()
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert plots.evaluate_all(HEIGHTS) == before
    assert min(grid for _, grid in before) > 150


BRIGHTNESS = (
    "() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    ".reduce((a, b) => a + b) / 3"
)
INK = (
    "() => getComputedStyle(document.querySelector('.plot .xtick text')).fill.match(/\\d+/g)"
    ".map(Number).reduce((a, b) => a + b) / 3"
)


@pytest.mark.parametrize(
    ("opened", "dark"),
    [({"color_scheme": "light"}, False), ({"color_scheme": "dark"}, True)],
    indirect=["opened"],
)
def test_the_scheme_is_that_of_the_system_until_the_button_is_pressed(
    opened: Any, dark: bool
) -> None:
    opened.locator(".plot").first.scroll_into_view_if_needed()
    opened.locator(".plot .xtick text").first.wait_for()
    for expected in (dark, not dark, dark):
        assert (opened.evaluate(BRIGHTNESS) < 100) == expected
        assert (opened.evaluate(INK) > 150) == expected
        button = opened.locator("#scheme")
        assert button.text_content() == ("Light page" if expected else "Dark page")
        button.focus()
        opened.keyboard.press("Enter")


def test_markup_of_a_user_is_shown_as_text(opened: Any) -> None:
    assert NASTY in opened.locator("h1").text_content()
    assert opened.locator("main script, main img").count() == 0
    figure = opened.locator("#last-2 h3")
    assert NASTY in figure.text_content()


def test_headings_links_and_figures_have_names(opened: Any) -> None:
    links = opened.locator("nav a").evaluate_all("all => all.map(a => a.hash.slice(1))")
    assert all(opened.locator(f"section#{name}").count() == 1 for name in links)
    labels = opened.locator("[role=img]").evaluate_all("all => all.map(e => e.ariaLabel.length)")
    assert min(labels) > 40
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.className") == "skip"
