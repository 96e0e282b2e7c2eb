"""Facts about tuners and techniques, read from their files without importing torch.

The file's class gives the knobs and what is said of it, its ``CARD`` the rest. Only literal values
are read; what is inherited is found in the package's other files.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from headstart.plugins.cards import Card
from headstart.plugins.registry import Registry
from headstart.strategies.builtin import OVER_SEEDS
from headstart.strategies.stages import written
from headstart.techniques import TECHNIQUES
from headstart.tuners import TUNERS


@dataclass(frozen=True)
class Knob:
    """A setting of a tuner or technique in a strategy line.

    Args:
        name: Its name.
        kind: What a user may give, by type.
        default: As a strategy line has it.
        accepted: The range in words; empty where the type says it all.
        meaning: From the docstring.
        source: Where the default comes from.
    """

    name: str
    kind: str
    default: str
    accepted: str
    meaning: str
    source: str

    @property
    def takes(self) -> str:
        """Type and range together."""
        return f"{self.kind}, {self.accepted}" if self.accepted else self.kind


@dataclass(frozen=True)
class Entry:
    """A tuner or a technique.

    Args:
        kind: ``tuner`` or ``technique``.
        name: Its name.
        summary: One line.
        card: Its card; ``None`` if it has none.
        knobs: In the order in which a line may give them by position.
        facts: The class attributes that are literals, such as ``lr``, ``where``, ``no_merge``.
        command: What carries it out, where no strategy line does.
    """

    kind: str
    name: str
    summary: str
    card: Card | None
    knobs: tuple[Knob, ...]
    facts: dict[str, Any]
    command: str = ""

    @property
    def line(self) -> str:
        """The name as written in a strategy line, or else the command."""
        if self.command:
            return self.command
        return self.name if self.kind == "tuner" else f"full+{self.name}"

    @property
    def merges(self) -> str:
        """Whether its change can be written into the backbone, and why not."""
        return f"No. {reason}" if (reason := self.facts.get("no_merge")) else "Yes."

    @property
    def serves(self) -> tuple[str, ...]:
        """Kinds of model that a tuner is made for."""
        return tuple(kind for kind in ("text", "image", "audio") if kind in self.facts["serves"])

    @property
    def targets(self) -> str:
        """Kinds of target that a technique is made for; empty for other entries."""
        return ", ".join(self.facts.get("targets", ())) if self.kind == "technique" else ""

    @property
    def rates(self) -> str:
        """A tuner's default learning rates: that of its own parameters and that of the head."""
        facts = self.facts
        own = f"{facts['lr']:g}, and " if facts["formula"] != "0" else ""
        size = "; larger models get lower ones" if facts.get("rate_follows_size") else ""
        return f"{own}{facts['head_lr']:g} for the head{size}"

    @property
    def signature(self) -> str:
        """All knobs with their defaults."""
        return ", ".join(f"{knob.name}={knob.default}" for knob in self.knobs)


def entries() -> Iterator[Entry]:
    """Read every registered tuner, every registered technique, and those over seeds."""
    for registry in (TUNERS, TECHNIQUES):
        yield from (read_entry(registry, name) for name in registry)
    yield from map(_over_seeds, OVER_SEEDS)


def find_entry(name: str) -> Entry | None:
    """Read the tuner or technique of a name; ``None`` if there is none."""
    for registry in (TUNERS, TECHNIQUES):
        if name in registry:
            return read_entry(registry, name)
    return _over_seeds(name) if name in OVER_SEEDS else None


def read_entry(registry: Registry[Any], name: str) -> Entry:
    """Read a tuner or technique; of a plug-in, which is not read, the summary alone."""
    spec = importlib.util.find_spec(f"{registry.package}.{name}")
    if spec is None or spec.origin is None:
        return Entry(registry.kind, name, registry.summary(name), None, (), {})
    path = Path(spec.origin)
    given = _assigned(_tree(path))
    line = _lineage(path, ast.unparse(given[registry.attribute]))
    fields = {f: found for node in reversed(line) for f, found in _fields(node)}
    attributes = {f: value for f, (kind, value) in fields.items() if kind.startswith("ClassVar")}
    card = _card(given["CARD"], f"{registry.package}.{name}") if "CARD" in given else None
    ranges = _ranges(attributes.pop("ranges", None), path)
    meanings = {k: v for node in reversed(line) for k, v in _meanings(node).items()}
    knobs = tuple(
        Knob(
            field,
            _accepted(kind),
            written(ast.literal_eval(value)),
            ranges.get(field, ""),
            meanings.get(field, ""),
            card.sources.get(field, "") if card else "",
        )
        for field, (kind, value) in fields.items()
        if not field.startswith("_") and not kind.startswith("ClassVar")
    )
    facts = {f: value for f, node in attributes.items() if (value := _literal(node)) is not None}
    return Entry(registry.kind, name, registry.summary(name), card, knobs, facts)


def _over_seeds(name: str) -> Entry:
    module = f"headstart.study.{name}"
    spec = importlib.util.find_spec(module)
    tree = _tree(Path(str(spec and spec.origin)))
    summary = (ast.get_docstring(tree) or "").split("\n", 1)[0]
    card = _card(_assigned(tree)["CARD"], module)
    return Entry("technique", name, summary, card, (), {}, OVER_SEEDS[name])


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _assigned(tree: ast.Module) -> dict[str, ast.expr]:
    """Return what a module's own lines give to names."""
    found: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            found |= {ast.unparse(target): node.value for target in node.targets}
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            found[ast.unparse(node.target)] = node.value
    return found


def _lineage(path: Path, name: str) -> list[ast.ClassDef]:
    """Return a class and those it inherits from, as far as the package's files define them."""
    files = [path, *sorted(path.parent.glob("*.py"))]
    classes = {
        node.name: node
        for file in reversed(files)
        for node in _tree(file).body
        if isinstance(node, ast.ClassDef)
    }
    line = [classes[name]]
    for node in line:
        line += [classes[base] for b in node.bases if (base := ast.unparse(b)) in classes]
    return line


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, tuple[str, ast.expr]]]:
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and line.value is not None:
            yield ast.unparse(line.target), (ast.unparse(line.annotation), line.value)


def _literal(node: ast.expr) -> Any:
    """Return a value that is written out, ``None`` if it has to be computed."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "frozenset" and node.args:
        return frozenset(_literal(node.args[0]) or ())
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _card(node: ast.expr, module: str) -> Card:
    try:
        keywords = getattr(node, "keywords", [])
        return Card(**{str(k.arg): ast.literal_eval(k.value) for k in keywords})
    except (TypeError, ValueError):
        # A card that is put together by code takes running the code.
        card: Card = importlib.import_module(module).CARD
        return card


def _ranges(node: ast.expr | None, path: Path) -> dict[str, str]:
    """Return the words of each range: written out, or under a name of this file or ``ranges``."""
    if not isinstance(node, ast.Dict):
        return {}
    known = {
        **_assigned(_tree(Path(__file__).with_name("plugins") / "ranges.py")),
        **_assigned(_tree(path)),
    }
    found: dict[str, str] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        given = known.get(ast.unparse(value), value)
        if isinstance(given, ast.Tuple) and key is not None:
            found[ast.literal_eval(key)] = str(_literal(given.elts[0]) or "")
    return found


def _accepted(kind: str) -> str:
    """Write the type of a knob as what a user may give."""
    if kind.startswith("Literal["):
        return " or ".join(str(v) for v in ast.literal_eval(f"({kind[8:-1]},)"))
    words = {"int": "whole number", "float": "number", "bool": "true or false", "str": "word"}
    return words.get(kind, kind)


def _meanings(node: ast.ClassDef) -> dict[str, str]:
    """Read the section Args of a class's docstring."""
    _, _, section = (ast.get_docstring(node) or "").partition("Args:\n")
    meanings: dict[str, str] = {}
    last = ""
    for line in section.split("\n\n")[0].splitlines():
        word, colon, text = line.strip().partition(": ")
        if colon and not line.startswith("     "):
            last = word
            meanings[word] = text
        elif last:
            meanings[last] += f" {line.strip()}"
    return {word: text.replace("``", "`") for word, text in meanings.items()}
