"""Names to factories: one file in a package, or one entry point, is one name.

A registry reads a package's folder instead of importing it, so names and summaries can be listed
without importing torch. Nothing has to be added to a central list: a new file is a new name.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
from collections.abc import Iterator
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Generic, TypeVar, cast

from headstart.errors import ConfigError, did_you_mean

T = TypeVar("T")


class Registry(Generic[T]):
    """The registered items of one kind.

    Every module of ``package`` whose name does not begin with ``_`` registers itself under its
    own name and provides the item as the module attribute ``attribute``. Other distributions add
    items through the entry-point group of the package's name (``headstart.tuners`` …).

    Args:
        kind: What an item is called in messages, for example ``tuner``.
        package: Dotted name of the package whose modules are the items.
        attribute: Name that each module gives to its item.
    """

    def __init__(self, kind: str, package: str, attribute: str) -> None:
        self.kind, self.package, self.attribute = kind, package, attribute

    @cached_property
    def _files(self) -> dict[str, Path]:
        spec = importlib.util.find_spec(self.package)
        folders = list(spec.submodule_search_locations or []) if spec else []
        return {
            path.stem: path
            for folder in folders
            for path in sorted(Path(folder).glob("*.py"))
            if not path.stem.startswith("_")
        }

    @cached_property
    def _plugins(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.package)}

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._files, *self._plugins}))

    def __contains__(self, name: object) -> bool:
        return name in self._files or name in self._plugins

    def __len__(self) -> int:
        return len({*self._files, *self._plugins})

    def get(self, name: str) -> T:
        """Import and return the item called ``name``.

        Raises ``ConfigError`` if no item has that name; the message suggests near ones.
        """
        if name in self._files:
            module = importlib.import_module(f"{self.package}.{name}")
            return cast(T, getattr(module, self.attribute))
        if name in self._plugins:
            return cast(T, self._plugins[name].load())
        raise ConfigError(f"the name of a {self.kind}", repr(name), did_you_mean(name, self))

    def summary(self, name: str) -> str:
        """Return the first line of an item's documentation, without importing it.

        Of a plug-in it is where that comes from.
        """
        if name in self._files:
            tree = ast.parse(self._files[name].read_text(encoding="utf-8"))
            return (ast.get_docstring(tree) or "").split("\n", 1)[0]
        return f"plug-in {self._plugins[name].value}"
