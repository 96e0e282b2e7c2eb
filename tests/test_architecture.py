"""The layers, the limits on size, and the lightness of imports that the documentation promises."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

import tiny_records
from headstart.analysis import ANALYSES

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "headstart"
LAYERS = (
    {"errors", "imports", "configfile", "plugins", "files", "untrusted", "kernels"},
    {"contradictions", "config", "results"},
    {"tasks", "strategies"},
    {"data", "models"},
    {"targets", "inputs"},
    {"tuners", "techniques"},
    {"training"},
    {"steps"},
    {"run", "inference", "pretrain"},
    {"observers"},
    {"study"},
    {"report"},
    {"analysis"},
    {"catalogue"},
    {"cli", "api", "studies", "demo", "estimator", "integrations", "__init__", "__main__"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# Whom a package must not know although the order would allow it: models see no tasks and no data.
STRANGERS = {"models": {"tasks", "data"}}
LIGHT = (
    "headstart",
    "headstart.plugins.registry",
    "headstart.config",
    "headstart.results",
    "headstart.tasks.builtin",
    "headstart.strategies",
    "headstart.strategies.builtin",
    "headstart.strategies.notation",
    "headstart.tuners",
    "headstart.targets",
    "headstart.inputs",
    "headstart.cli",
)
LONGEST_FILE, LONGEST_FUNCTION, MOST_FILES = 400, 60, 12
ONE_FILE_EACH = ("tuners", "techniques")
"""Folders that grow by a file for each thing that is found in them."""


def unit(path: Path, source: Path = SOURCE) -> str:
    """Return the top-level name that a file belongs to: a package, or a module of its own."""
    return path.relative_to(source).parts[0].removesuffix(".py")


@cache
def parsed(path: Path) -> tuple[list[ast.Import | ast.ImportFrom], list[tuple[int, str, int]]]:
    """Return a file's imports, and first line, name and last line of its functions.

    Several tests ask for each file, and its whole tree would weigh on every later test.
    """
    imported, functions = [], []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            imported.append(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions.append((node.lineno, node.name, node.end_lineno or node.lineno))
    return imported, functions


@cache
def imports(path: Path, source: Path = SOURCE) -> list[str]:
    """Return every dotted name of headstart that a file imports, in any of its functions too."""
    package, found = ["headstart", *path.relative_to(source).parent.parts], []
    for node in parsed(path)[0]:
        base = ""
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = "".join(f"{part}." for part in [*above, *([node.module] if node.module else [])])
        found += [f"{base}{alias.name}" for alias in node.names]
    return [name for name in found if name.split(".")[0] == "headstart"]


def target(name: str, source: Path = SOURCE) -> str:
    """Return the top-level name that an import reaches; what is no module is in ``__init__``."""
    first = [*name.split("."), "__init__"][1]
    exists = (source / first).is_dir() or (source / f"{first}.py").is_file()
    return first if exists else "__init__"


def upward(path: Path, source: Path = SOURCE) -> list[str]:
    """Return the imports of a file that reach a higher layer or a stranger."""
    own = unit(path, source)
    reached = {name: target(name, source) for name in imports(path, source)}
    return [
        f"{path.relative_to(source)} imports {name}"
        for name, other in reached.items()
        if LEVEL[other] > LEVEL[own] or other in STRANGERS.get(own, set())
    ]


def concrete(path: Path, source: Path = SOURCE) -> list[str]:
    """Return a file's imports of single tuners, techniques and targets; only siblings may."""
    reached = [(name, [*name.split("."), "", ""][1:3]) for name in imports(path, source)]
    return [
        name
        for name, (package, module) in reached
        if package in {"tuners", "techniques", "targets"}
        and unit(path, source) != package
        and not module.startswith("_")
        and (source / package / f"{module}.py").is_file()
    ]


def long_functions(path: Path, longest: int = LONGEST_FUNCTION) -> list[str]:
    """Return the functions above the limit whose length has no reason beside the ``def``."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [
        f"{path.name}:{start} {name}: {length} lines"
        for start, name, end in parsed(path)[1]
        if (length := end - start + 1) > longest
        and not any("# long: " in line for line in lines[max(start - 2, 0) : start])
    ]


SOURCES = sorted(SOURCE.rglob("*.py"))
ALL_FILES = [*SOURCES, *sorted((ROOT / "tests").rglob("*.py")), *sorted(ROOT.glob("scripts/*.py"))]


def test_every_file_has_a_layer() -> None:
    unplaced = sorted({unit(path) for path in SOURCES} - LEVEL.keys())
    assert len(SOURCES) > 10
    assert not unplaced, f"place these in LAYERS: {unplaced}"


STEPS = ("settings", "rows", "model", "plan", "train", "save")


@pytest.mark.parametrize("step", STEPS)
def test_no_step_of_a_run_imports_another(step: str) -> None:
    others = {f"headstart.steps.{other}" for other in STEPS if other != step}
    reached = imports(SOURCE / "steps" / f"{step}.py")
    assert reached
    assert not [name for name in reached if any(f"{name}.".startswith(f"{o}.") for o in others)]


def test_a_run_takes_every_step_in_one_file() -> None:
    reached = {name.rpartition(".")[0] for name in imports(SOURCE / "run.py")}
    assert {f"headstart.steps.{step}" for step in STEPS} <= reached


def test_layers_import_only_lower_ones() -> None:
    faults = [fault for path in SOURCES for fault in upward(path)]
    assert not faults, "\n".join(faults)


def test_packages_do_not_import_one_another_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for path in SOURCES:
        reached = {target(name) for name in imports(path)} - {unit(path)}
        graph.setdefault(unit(path), set()).update(reached)
    assert list(TopologicalSorter(graph).static_order())


def module(name: str, source: Path = SOURCE) -> Path | None:
    """Return the file that a dotted name stands for or stands in; none for ``headstart`` itself."""
    parts = name.split(".")[1:]
    while parts:
        base = source.joinpath(*parts)
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path
        parts.pop()
    return None


def test_files_do_not_import_one_another_in_a_circle() -> None:
    graph = {
        path: {found for name in imports(path) if (found := module(name)) not in (None, path)}
        for path in SOURCES
    }
    assert sum(map(len, graph.values())) > 500
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        names = [str(path.relative_to(SOURCE)) for path in error.args[1]]
        raise AssertionError(f"a circle: {' <- '.join(names)}") from None
    assert len(order) == len(SOURCES)


def test_nothing_imports_a_concrete_tuner_or_technique() -> None:
    faults = [f"{p.relative_to(SOURCE)} imports {n}" for p in SOURCES for n in concrete(p)]
    assert not faults, "use the registry instead:\n" + "\n".join(faults)


def test_files_are_short() -> None:
    lengths = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in ALL_FILES}
    faults = [f"{p.relative_to(ROOT)}: {n}" for p, n in lengths.items() if n > LONGEST_FILE]
    assert not faults, f"above {LONGEST_FILE} lines:\n" + "\n".join(faults)


def test_folders_hold_a_dozen_files_at_most() -> None:
    held = Counter(
        path.parent.relative_to(SOURCE).as_posix()
        for path in SOURCES
        if path.name not in ("__init__.py", "__main__.py")
    )
    found = {name: files for name, files in held.items() if files > MOST_FILES}
    assert found.keys() == set(ONE_FILE_EACH)


def test_functions_are_short() -> None:
    faults = [fault for path in ALL_FILES for fault in long_functions(path)]
    assert not faults, f"above {LONGEST_FUNCTION} lines:\n" + "\n".join(faults)


@pytest.mark.parametrize("module", LIGHT)
def test_import_needs_no_torch(module: str) -> None:
    assert heavy_after(f"import {module}") == []


def test_every_command_is_asked_for_its_help() -> None:
    from headstart.cli.shared.app import COMMANDS as ALL
    from headstart.cli.shared.app import find_command

    names = set(ALL)
    for name in ALL:
        names |= {f"{name} {sub}" for sub in getattr(find_command(name), "commands", ())}
    assert {f"{name} --help" for name in names} <= set(HELP)
    assert len(ANALYZE) >= 2


def test_the_list_of_commands_says_what_their_help_pages_say() -> None:
    from headstart.cli.shared.app import COMMANDS as ALL
    from headstart.cli.shared.app import find_command

    pages = {name: find_command(name).help.partition("\n\n")[0] for name in ALL}
    assert {name: page.replace("\n", " ") for name, page in pages.items()} == {
        name: line for name, (_, line) in ALL.items()
    }


def test_the_help_page_imports_no_command() -> None:
    code = """
from headstart.cli import main
assert main(["--help"]) == 0
there = {"pydantic", "headstart.cli.fit", "headstart.cli.study"} & sys.modules.keys()
assert not there, there
"""
    assert heavy_after(code) == []


def test_listing_needs_no_torch() -> None:
    code = "from headstart.tuners import TUNERS; assert all(TUNERS.summary(n) for n in TUNERS)"
    assert heavy_after(code) == []


COMMANDS = ("fit", "evaluate", "predict", "probe", "head", "head extract", "head inspect", "tasks")
STUDY = (
    "study",
    "study run",
    "study status",
    "study table",
    "study card",
    "study soup",
    "report",
    "analyze",
)
ANALYZE = tuple(f"analyze {name}" for name in ANALYSES)
OTHERS = ("strategies", "explain", "demo", *ANALYZE)
HELP = ("--help", *(f"{name} --help" for name in (*COMMANDS, *STUDY, *OTHERS)))


ANSWERED = (*HELP, "tasks", "strategies", "explain lora", "explain eh-ft")
LOOKS = ("study status", "study table", "study table --format csv", "study card", "report")
EACH = """
import json, os, runpy
import typer.rich_utils
from headstart.analysis import ANALYSES
from headstart.cli.shared.app import COMMANDS, find_command

for name in COMMANDS:
    find_command(name)  # what they import is imported once; if it is heavy, all of them fail
for name in ANALYSES:
    ANALYSES.get(name)
answers = {}
for command, words in json.loads(sys.argv[1]).items():
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.argv = ["headstart", *words]
        code = None
        try:
            runpy.run_module("headstart", run_name="__main__")
        except SystemExit as end:
            code = end.code
        answer = json.dumps([code or 0, *HEAVY()])
        os.write(writing, answer.encode())
        os._exit(0)
    os.wait()
    answers[command] = json.loads(os.read(reading, 10_000))
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """For each command: its exit code, and the heavy libraries that it imported."""
    study = tmp_path_factory.mktemp("looks") / "x"
    found = tiny_records.evidence(
        tiny_records.noisy({}), ("full", "bitfit > full", "head > full"), 3, ("one", "two")
    )
    records = [tiny_records.record(run.axes, 0.7) for run in found.planned]
    tiny_records.write(found, records, study)
    words = {command: [*command.split(), str(study)] for command in LOOKS}
    words |= {command: command.split() for command in ANSWERED}
    script = f"import sys\nHEAVY = lambda: {HEAVY}\n{EACH}"
    command = [sys.executable, "-c", script, json.dumps(words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    answers: dict[str, list[Any]] = json.loads(done.stdout)
    return answers


@pytest.mark.parametrize("command", ANSWERED)
def test_command_line_answers_without_torch(command: str, answers: dict[str, list[Any]]) -> None:
    assert answers[command] == [0]


@pytest.mark.parametrize("command", LOOKS)
def test_looking_at_a_study_needs_no_torch(command: str, answers: dict[str, list[Any]]) -> None:
    assert answers[command] == [0]


HEAVY = "sorted({'pandas', 'scipy.stats', 'torch', 'transformers'} & sys.modules.keys())"
"""``scipy.stats`` alone takes half a second."""


def heavy_after(code: str) -> list[str]:
    """Run code in a new interpreter and return the heavy libraries that it imported."""
    report = f"print('heavy:', *{HEAVY})"
    command = [sys.executable, "-c", f"import sys\n{code}\n{report}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize(
    ("line", "faults"),
    [
        ("from headstart.tuners import TUNERS", 1),
        ("def f():\n    import headstart.training.loop", 1),
        ("from ..tuners import TUNERS", 1),
        ("from headstart import __version__", 1),
        ("from headstart import tasks", 1),  # not upward, but models know no tasks
        ("from headstart import errors", 0),
        ("from . import heads", 0),
        ("import torch", 0),
    ],
)
def test_the_layer_test_sees_upward_imports(tmp_path: Path, line: str, faults: int) -> None:
    for name in ("errors.py", "tasks/__init__.py", "tuners/__init__.py", "training/loop.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    module = tmp_path / "models" / "backbone.py"
    module.parent.mkdir()
    module.write_text(line)
    assert len(upward(module, tmp_path)) == faults


def test_the_registry_test_sees_concrete_tuners(tmp_path: Path) -> None:
    (tmp_path / "tuners").mkdir()
    for name in ("tuners/_base.py", "tuners/lora.py"):
        (tmp_path / name).touch()
    module = tmp_path / "run.py"
    module.write_text(
        "from headstart.tuners import TUNERS\n"
        "from headstart.tuners._base import Tuner\n"
        "from headstart.tuners.lora import Lora\n"
    )
    assert concrete(module, tmp_path) == ["headstart.tuners.lora.Lora"]


def test_the_length_test_wants_a_reason(tmp_path: Path) -> None:
    body = "    pass\n" * 3
    module = tmp_path / "m.py"
    module.write_text(
        f"def f():\n{body}\n# long: one table\ndef g():\n{body}\ndef h():\n    pass\n"
    )
    assert long_functions(module, longest=3) == ["m.py:1 f: 4 lines"]
