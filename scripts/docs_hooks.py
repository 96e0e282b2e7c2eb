"""What mkdocs calls while it builds: it checks tables and cards, and adds pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import docs_cards
from docs_tables import ROOT, SOURCE, fill
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Check the pages of tuners and techniques, and put them and the reference into the navigation.

    Its entries ``Tuners``, ``Techniques`` and ``Python API`` are lists that pages are added to.
    Raises ``PluginError`` if a tuner or technique has no page, or one of another day.
    """
    if faults := docs_cards.faults(ROOT / "docs"):
        raise PluginError(f"{'; '.join(faults)}. Run `make format`.")
    cards = sorted(docs_cards.pages())
    pages: list[Any] = [{f"headstart.{name}": _page(name)} for name in reference()]
    for entry in config.nav or []:
        if "Python API" in entry:
            entry["Python API"] = [*entry["Python API"], *pages]
        for title, folder in (("Tuners", "tuners/"), ("Techniques", "techniques/")):
            if title in entry:
                entry[title] = [
                    *entry[title],
                    *({Path(c).stem: c} for c in cards if c.startswith(folder)),
                ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a generated page for each package and each single module."""
    for name, modules in reference().items():
        parts = [f"# headstart.{name}", *(f"::: {module}" for module in modules)]
        files.append(File.generated(config, _page(name), content="\n\n".join(parts)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> None:
    """Refuse a page whose generated parts are out of date.

    Raises ``PluginError`` if the text differs from what would be generated now.
    """
    if fill(markdown) != markdown:
        name = page.file.src_uri
        raise PluginError(
            f"expected the tables of today in docs/{name}; found older ones. Run `make format`."
        )


def reference() -> dict[str, list[str]]:
    """Return the public modules, by the name of their package or their own."""
    pages: dict[str, list[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        names = parts[:-1] if parts[-1] == "__init__" else parts
        if names and not any(name.startswith("_") for name in names):
            pages.setdefault(names[0], []).append(".".join(("headstart", *names)))
    return pages


def _page(name: str) -> str:
    return str(Path("reference", f"{name}.md"))
