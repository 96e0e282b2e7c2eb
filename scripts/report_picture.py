"""A picture of one section of a report, for the documentation.

``python scripts/report_picture.py studies/x/report.html docs/pictures/x.png`` needs Chromium and
playwright, as the tests of the report do.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

WIDTH, HEIGHT = 760, 2000
"""Of the window in points: narrow, so that letters stay large on a page of the documentation."""


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, help="the page")
    parser.add_argument("picture", type=Path, help="the PNG file")
    parser.add_argument("--section", default="convergence", help="its id (%(default)s)")
    arguments = parser.parse_args()
    write(arguments.report, arguments.picture, arguments.section)
    print(f"{arguments.picture}: {arguments.picture.stat().st_size:,} bytes")


def write(report: Path, picture: Path, section: str) -> None:
    """Write the picture of a section."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(report.resolve().as_uri())
        page.wait_for_selector(f"#{section} svg.main-svg")
        page.add_style_tag(content=".modebar-container { display: none }")
        page.locator(f"#{section}").screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    main()
