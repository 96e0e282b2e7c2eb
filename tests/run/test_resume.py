"""An interrupted run goes on to the same bits, wherever it was interrupted."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import forked
import headstart as hs
import tiny_kinds
from alike import ALL, leading
from headstart.errors import RunError
from headstart.steps.stages import runner as stages
from headstart.training import checkpoint
from tiny_runs import Watch, inputs, same, saved, scores, watched

SHORT = "bitfit(steps=4) > full(steps=3)"
MODERNBERT = {"family": "modernbert"}

# The line; in which attempt and after which step; further settings.
POINTS: list[tuple[str, tuple[int, int], dict[str, Any]]] = [
    (SHORT, (2, 3), {"select": "best", "eval_every": 1}),
    (SHORT, (1, 2), {"micro_batch_size": 3}),
    ("head(steps=4) > full(steps=3)", (1, 3), {"head_type": "linear", "pooling": "attention"}),
    ("hydra(steps=4, dropout=0.1) >> full(steps=3)", (1, 2), {"family": "mpnet"}),
    ("lora(steps=4) >> full(steps=3)+mixout", (2, 2), {}),
    ("pissa(steps=4) >> eva(steps=3) > full(steps=3)", (2, 2), {}),
    (
        "prefix(steps=4) > bitfit(add=true, steps=3) >> full(steps=3)",
        (3, 1),
        MODERNBERT,
    ),
    ("bitfit(until=plateau, steps=40) > full(steps=3)", (1, 5), {}),
    (SHORT, (1, 4), {"gradient_checkpointing": True, "offload_optimizer": True}),
    (SHORT, (1, 1), {}),
    (SHORT, (1, 4), {}),
    (SHORT, (2, 2), {}),
    (SHORT, (2, 3), {}),
    (SHORT, (2, 2), {"select": "best", "eval_every": 1}),
    (SHORT, (2, 2), {"gradient_checkpointing": True, "offload_optimizer": True}),
    (SHORT, (1, 2), {"selection": "carve"}),
    ("head(steps=4) > full(steps=3)", (1, 3), {}),
    (SHORT, (2, 1), {"head_type": "mlp", "pooling": "attention", "select": "best"}),
    ("prefix(steps=4) > full(steps=3)", (1, 3), {}),
    ("adapter(steps=4, kind=parallel) > full(steps=3)", (1, 3), {}),
    ("histogram(steps=4) > full(steps=3)", (1, 2), {"family": "distilbert"}),
    ("top(steps=4) > full(steps=3)", (1, 3), {"family": "deberta-v2"}),
    ("lora(steps=4, dropout=0.1) > full(steps=3)", (1, 3), {"family": "mpnet"}),
    ("lora(steps=4) >> full(steps=3)", (1, 2), {}),
    ("lora(steps=4) >> full(steps=3)", (2, 2), {}),
    ("lora(steps=4) >> pissa(steps=3)", (2, 2), {}),
    ("bitfit(add=true, steps=4) >> full(steps=3)", (2, 2), MODERNBERT),
    ("bitfit(steps=4) >> lora(steps=3) > full(steps=3)", (2, 2), {}),
    (
        "bitfit(add=true, steps=4) >> lora(steps=3) > full(steps=3)",
        (3, 2),
        MODERNBERT,
    ),
    (
        "lora(steps=4) > bitfit(add=true, steps=3) >> full(steps=3)",
        (2, 1),
        MODERNBERT,
    ),
    ("bitfit(until=learned, steps=50) > full(steps=3)", (1, 30), {}),
    ("lora(steps=4)", (1, 2), {}),
]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of ``SHORT`` that is not interrupted."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    watched(out=folder / "whole", **inputs(folder, strategy=SHORT, guard=False))
    return folder / "whole"


def interrupt(at: tuple[int, int]) -> Watch:
    """Press Ctrl-C after a step."""

    def at_step(attempt: int, step: int) -> None:
        if (attempt, step) == at:
            signal.raise_signal(signal.SIGINT)

    return Watch(at_step)


def same_run(first: Path, second: Path) -> bool:
    results = [hs.RunResult.read(run / "result.json") for run in (first, second)]
    return same(saved(first), saved(second)) and scores(results[0]) == scores(results[1])


@pytest.mark.parametrize(("line", "at", "more"), leading(POINTS, 9))
def test_ctrl_c_writes_a_checkpoint_from_which_the_run_goes_on(
    line: str, at: tuple[int, int], more: dict[str, Any], tmp_path: Path
) -> None:
    settings = inputs(tmp_path, **{"guard": False, **more}) | {"strategy": line}
    whole, out = tmp_path / "whole", tmp_path / "run"
    watched(out=whole, **settings)
    with pytest.raises(KeyboardInterrupt):
        hs.fit(callback=interrupt(at), out=out, **settings)
    assert not out.exists()
    assert state(out)["loop"]["step"] == at[1]
    watch = watched(out=out, resume=True, **settings)
    assert same_run(whole, out)
    assert not out.with_name("run.partial").exists()
    # What was done before the interrupt is not done again.
    steps = sum(s.steps for s in watch.result.stages)
    earlier = watch.result.stages[: at[0] - 1]
    assert sum(len(s.rates) for s in watch.stages) == steps - at[1] - sum(s.steps for s in earlier)


@pytest.mark.parametrize(
    ("kind", "at", "more"),
    leading(
        [
            ("tags in windows", (2, 2), {"select": "best", "eval_every": 1}),
            ("several labels", (2, 2), {"tune_threshold": True, "selection": "carve"}),
            ("tags", (1, 3), {"strategy": "head(steps=4) > full(steps=3)"}),
            ("several labels", (1, 2), {"micro_batch_size": 3}),
            ("pictures", (1, 3), {"strategy": "head(steps=4) > full(steps=3)"}),
            ("sounds", (2, 2), {"select": "best", "eval_every": 1}),
        ],
        2,
    ),
)
def test_every_kind_of_rows_goes_on_to_the_same_bits(
    kind: str, at: tuple[int, int], more: dict[str, Any], tmp_path: Path
) -> None:
    settings = tiny_kinds.settings(kind, tmp_path, **{"strategy": SHORT, **more})
    hs.fit(out=tmp_path / "whole", **settings)
    with pytest.raises(KeyboardInterrupt):
        hs.fit(callback=interrupt(at), out=tmp_path / "run", **settings)
    hs.fit(resume=True, out=tmp_path / "run", **settings)
    assert same_run(tmp_path / "whole", tmp_path / "run")
    configs = [(tmp_path / n / "model" / "config.json").read_text() for n in ("whole", "run")]
    assert configs[0] == configs[1]


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize(
    ("line", "at"),
    [
        pytest.param("lora(steps=4) > full(steps=3)", (1, 2), marks=ALL),
        ("lora(steps=4) >> full(steps=3)", (2, 2)),
        pytest.param("lora(steps=4) >> bitfit(steps=3) > full(steps=3)", (2, 2), marks=ALL),
    ],
)
def test_running_statistics_go_on_too(line: str, at: tuple[int, int], tmp_path: Path) -> None:
    settings = inputs(tmp_path, guard=False) | {"strategy": line}
    whole, out = tmp_path / "whole", tmp_path / "run"
    watched(out=whole, **settings)
    with pytest.raises(KeyboardInterrupt):
        hs.fit(callback=interrupt(at), out=out, **settings)
    watched(out=out, resume=True, **settings)
    assert any("passes" in name and tensor > 0 for name, tensor in saved(out).items())
    assert same_run(whole, out)


def state(out: Path) -> dict[str, Any]:
    folder = out.with_name(f"{out.name}.partial") / "checkpoints"
    latest = json.loads((folder / "latest.json").read_text())["checkpoint"]
    assert [path.name for path in folder.iterdir() if path.is_dir()] == [latest]
    content: dict[str, Any] = json.loads((folder / latest / "state.json").read_text())
    return content


@pytest.fixture
def adjusted_scores(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Say how much the attempts before the last stage will seem to have learned."""

    def use(*values: float) -> None:
        told: Iterator[float] = iter(values)
        monkeypatch.setattr(stages, "adjusted_score", lambda *_: next(told))

    return use


TWICE = "bitfit(steps=4) >> bitfit(steps=3, lr=0.1) > full(steps=3)"
GUARDED = [
    (SHORT, (2, 2), (0, 1)),
    (SHORT, (3, 1), (0, 0)),
    (TWICE, (3, 2), (1, 0, 0)),
    (SHORT, (2, 2), (0, 0)),
    ("lora(steps=4) >> lora(steps=3) > full(steps=3)", (3, 2), (1, 0, 1)),
    (TWICE, (2, 2), (1, 0, 0)),
    (TWICE, (4, 2), (1, 0, 0)),
]


@pytest.mark.parametrize(("line", "at", "learned"), leading(GUARDED, 3))
def test_the_guard_remembers_over_an_interrupt(
    line: str,
    at: tuple[int, int],
    learned: tuple[float, ...],
    adjusted_scores: Callable[..., None],
    tmp_path: Path,
) -> None:
    settings = inputs(tmp_path, strategy=line)
    adjusted_scores(*learned)
    whole = watched(out=tmp_path / "whole", **settings).result
    assert len(whole.stages) == len(learned) + 1
    assert len(whole.guard) == learned.count(0)
    adjusted_scores(*learned)
    with pytest.raises(KeyboardInterrupt):
        hs.fit(callback=interrupt(at), out=tmp_path / "run", **settings)
    hs.fit(out=tmp_path / "run", resume=True, **settings)
    assert same_run(tmp_path / "whole", tmp_path / "run")


def test_a_run_can_be_interrupted_again_and_again(tmp_path: Path, uninterrupted: Path) -> None:
    settings = inputs(tmp_path, strategy=SHORT, guard=False)
    out = tmp_path / "run"
    # Attempts are counted from the beginning of each part.
    for number, at in enumerate([(1, 1), (1, 3), (1, 4), (2, 1), (1, 3)]):
        with pytest.raises(KeyboardInterrupt):
            hs.fit(callback=interrupt(at), out=out, resume=number > 0, **settings)
    hs.fit(out=out, resume=True, **settings)
    assert same_run(uninterrupted, out)


def test_a_crash_costs_the_steps_since_the_checkpoint_only(
    tmp_path: Path, uninterrupted: Path
) -> None:
    settings = inputs(tmp_path, strategy=SHORT, guard=False, checkpoint_steps=2)

    def at_step(attempt: int, step: int) -> None:
        if (attempt, step) == (2, 1):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        hs.fit(callback=Watch(at_step), out=tmp_path / "run", **settings)
    assert (state(tmp_path / "run")["stage"], state(tmp_path / "run")["loop"]["step"]) == (0, 4)
    hs.fit(out=tmp_path / "run", resume=True, **settings)
    assert same_run(uninterrupted, tmp_path / "run")


def test_a_crash_while_a_checkpoint_is_written_leaves_the_one_before(
    tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = inputs(tmp_path, strategy=SHORT, guard=False, checkpoint_steps=1)
    write, written = checkpoint.save_file, []

    def save_file(tensors: Any, path: Path) -> None:
        written.append(path)
        write(tensors, path)
        if len(written) == 3:
            path.write_bytes(path.read_bytes()[:100])
            raise ZeroDivisionError

    monkeypatch.setattr(checkpoint, "save_file", save_file)
    with pytest.raises(ZeroDivisionError):
        hs.fit(out=tmp_path / "run", **settings)
    monkeypatch.undo()
    watch = watched(out=tmp_path / "run", resume=True, **settings)
    assert [len(seen.rows) for seen in watch.stages] == [2, 3]
    assert same_run(uninterrupted, tmp_path / "run")


def test_without_a_checkpoint_a_run_starts_from_the_beginning(
    tmp_path: Path, uninterrupted: Path
) -> None:
    settings = inputs(tmp_path, strategy=SHORT, guard=False)

    def at_step(_attempt: int, _step: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        hs.fit(callback=Watch(at_step), out=tmp_path / "run", **settings)
    hs.fit(out=tmp_path / "run", resume=True, **settings)
    assert same_run(uninterrupted, tmp_path / "run")


def test_other_settings_cannot_resume(tmp_path: Path) -> None:
    settings = inputs(tmp_path, strategy=SHORT)
    with pytest.raises(KeyboardInterrupt):
        hs.fit(callback=interrupt((1, 1)), out=tmp_path / "run", **settings)
    before = state(tmp_path / "run")
    with pytest.raises(RunError) as error:
        hs.fit(out=tmp_path / "run", resume=True, **settings | {"seed": 3, "batch_size": 4})
    assert "seed 0 -> 3" in error.value.found
    assert "batch_size 8 -> 4" in error.value.found
    assert "strategy" not in error.value.found
    assert state(tmp_path / "run") == before


def test_settings_that_are_left_out_are_those_of_the_start(tmp_path: Path) -> None:
    settings = inputs(tmp_path, strategy=SHORT, guard=False)
    given = {"lr": 1e-3, "eval_every": 1, "max_length": 8, "weight_decay": 0.3}
    watched(out=tmp_path / "whole", **settings | given)
    with pytest.raises(KeyboardInterrupt):
        hs.fit(callback=interrupt((1, 1)), out=tmp_path / "run", **settings | given)
    hs.fit(out=tmp_path / "run", resume=True, **settings)
    assert same_run(tmp_path / "whole", tmp_path / "run")
    records = [hs.RunResult.read(tmp_path / n / "result.json").settings for n in ("whole", "run")]
    for record in records:
        record.update(out="", resume=False)
    assert records[0] == records[1]


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    settings = inputs(tmp_path, strategy="full(steps=1)")
    with pytest.raises(RunError, match=r"found none\. Leave --resume out"):
        hs.fit(out=tmp_path / "run", resume=True, **settings)
    watched(out=tmp_path / "run", **settings)
    with pytest.raises(RunError, match=r"a finished run in .*There is nothing left to do"):
        hs.fit(out=tmp_path / "run", resume=True, **settings)


CHILD = """
import json, os, signal, sys, time
import headstart as hs
from headstart.steps.callback import Callback

settings, killed = json.loads(sys.argv[1]), sys.argv[2] == "kill"

class Mark(Callback):
    stages = 0

    def stage_ended(self, stage):
        self.stages += 1

    def step(self, step, loss):
        if killed and (self.stages, step) == (1, 2):
            os.kill(os.getpid(), signal.SIGKILL)
        print(self.stages + 1, step, flush=True)
        time.sleep(0 if killed else 0.02)  # for the signal to arrive while it trains

hs.fit(callback=Mark(), **settings)
"""


def child(settings: dict[str, Any], how: str) -> forked.Forked:
    return forked.Forked(CHILD, json.dumps(settings), how)


@pytest.mark.slow
def test_a_killed_process_resumes(tmp_path: Path, uninterrupted: Path) -> None:
    settings = inputs(tmp_path, strategy=SHORT, guard=False, checkpoint_steps=1, threads=1)
    out = tmp_path / "run"
    process = child(settings | {"out": str(out)}, "kill")
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    # The checkpoint of stage 2's first step is the last one that was written.
    assert (state(out)["stage"], state(out)["loop"]["step"]) == (1, 1)
    hs.fit(out=out, resume=True, **settings)
    assert same_run(uninterrupted, out)


@pytest.mark.slow
def test_an_interrupted_process_saves_and_resumes(tmp_path: Path) -> None:
    settings = inputs(tmp_path, strategy="bitfit(steps=60) > full(steps=3)", guard=False, threads=1)
    out = tmp_path / "run"
    process = child(settings | {"out": str(out)}, "wait")
    process.wait_for("1 4\n")
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=120)
    assert process.returncode in (1, 130, -signal.SIGINT)
    assert errors.strip().endswith("KeyboardInterrupt")
    assert not out.exists()
    steps = [int(told.split()[1]) for told in rest.splitlines()]
    assert state(out)["loop"]["step"] == max(steps) < 60
    hs.fit(out=out, resume=True, **settings)
    watched(out=tmp_path / "whole", **settings)
    assert same_run(tmp_path / "whole", out)


def test_other_rows_than_at_the_start_are_refused_and_nothing_is_lost(
    tmp_path: Path, uninterrupted: Path
) -> None:
    settings, out = inputs(tmp_path, guard=False) | {"strategy": SHORT}, tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        hs.fit(callback=interrupt((1, 2)), out=out, **settings)
    train = Path(settings["train"])
    text = train.read_text()
    train.write_text("\n".join(text.splitlines()[:-1]) + "\n")
    with pytest.raises(RunError, match="other rows"):
        hs.fit(out=out, resume=True, **settings)
    train.write_text(text)
    hs.fit(out=out, resume=True, **settings)
    assert same_run(uninterrupted, out)
