"""A run's folder holds a whole run or the one before it, whatever happens."""

from __future__ import annotations

import errno
import io
import json
import shutil
import signal
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

import headstart as hs
import headstart.run as main
from alike import spread
from headstart.cli import main as command
from headstart.config import FitConfig
from headstart.errors import ConfigError, DataError, HeadstartError, RunError
from headstart.models.checkpoints import saving
from headstart.steps.callback import Callback
from headstart.steps.output import folder as folders
from headstart.steps.output.folder import RunFolder
from tiny_runs import Tensors, Watch, frame, inputs, same, saved

Settings = dict[str, Any]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return inputs(tmp_path, strategy="full(steps=2)", out=tmp_path / "run")


@pytest.fixture
def old(settings: Settings) -> Tensors:
    """What a finished run saved in the place that the next one is to take."""
    hs.fit(**settings)
    return saved(settings["out"])


def around(settings: Settings) -> set[str]:
    """Names beside the run's folder that begin like it."""
    return {path.name for path in settings["out"].parent.glob("run*")}


def test_a_finished_run_is_refused(settings: Settings, old: Tensors) -> None:
    with pytest.raises(RunError) as error:
        hs.fit(**settings | {"seed": 1})
    assert "another run there" in error.value.found
    assert "--overwrite" in error.value.fix
    assert same(saved(settings["out"]), old)
    assert around(settings) == {"run"}


def test_overwrite_replaces_it(settings: Settings, old: Tensors) -> None:
    hs.fit(**settings | {"seed": 1, "overwrite": True})
    assert not same(saved(settings["out"]), old)
    assert hs.RunResult.read(settings["out"] / "result.json").seed == 1
    assert around(settings) == {"run"}


def test_what_the_user_put_beside_it_stays(settings: Settings, old: Tensors) -> None:
    mine = settings["out"] / "notes"
    mine.mkdir()
    (mine / "of-mine.txt").write_text("words")
    (settings["out"] / "log.txt").write_text("a log of the old run")
    hs.fit(**settings | {"seed": 1, "overwrite": True})
    assert (mine / "of-mine.txt").read_text() == "words"
    assert "of the old run" not in (settings["out"] / "log.txt").read_text()
    names = {path.name for path in settings["out"].iterdir()}
    assert names == {"head", "log.txt", "model", "notes", "result.json", "settings.yaml"}


def fail_in_training(patch: pytest.MonkeyPatch) -> Callback:
    def at_step(_attempt: int, step: int) -> None:
        raise ZeroDivisionError

    return Watch(at_step)


def fail_in_saving(patch: pytest.MonkeyPatch) -> Callback:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    patch.setattr(saving, "_compare", fail)
    return Watch()


def fail_in_reading_back(patch: pytest.MonkeyPatch) -> Callback:
    """The model is written, but one of its bits is lost."""
    load = saving.load_saved

    def damaged(source: str, **_: bool) -> Any:
        split, target = load(source)
        next(iter(split.backbone.values())).data.view(-1)[0] += 1
        return split, target

    patch.setattr(saving, "load_saved", damaged)
    return Watch()


@pytest.mark.parametrize("fail", [fail_in_training, fail_in_saving, fail_in_reading_back])
def test_a_failure_leaves_the_old_run_whole(
    fail: Callable[[pytest.MonkeyPatch], Callback],
    settings: Settings,
    old: Tensors,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch, pytest.raises((ZeroDivisionError, HeadstartError)):
        hs.fit(callback=fail(patch), **settings | {"seed": 1, "overwrite": True})
    assert same(saved(settings["out"]), old)
    assert hs.load(settings["out"]).predict("a b c")[0].label in ("good", "bad")
    assert around(settings) == {"run", "run.partial"}
    hs.fit(**settings | {"seed": 1, "overwrite": True})
    assert hs.RunResult.read(settings["out"] / "result.json").seed == 1
    assert around(settings) == {"run"}


def test_an_interrupted_run_is_not_thrown_away_unasked(settings: Settings) -> None:
    with pytest.raises(ZeroDivisionError):
        hs.fit(callback=fail_in_training(pytest.MonkeyPatch()), **settings)
    with pytest.raises(RunError) as error:
        hs.fit(**settings)
    assert "an interrupted run in" in error.value.found
    assert "--resume" in error.value.fix
    hs.fit(**settings | {"overwrite": True})
    assert around(settings) == {"run"}


@pytest.mark.parametrize("how", ["overwrite", "resume"])
def test_a_run_in_progress_is_left_alone(how: str, settings: Settings) -> None:
    told = []

    def at_step(_attempt: int, step: int) -> None:
        if step == 1:
            with pytest.raises(RunError) as error:
                hs.fit(**settings | {how: True})
            told.append(error.value.found)

    hs.fit(callback=Watch(at_step), **settings)
    assert told == ["one that is in progress"]
    assert around(settings) == {"run"}
    assert not (settings["out"] / ".lock").exists()


def test_ctrl_c_waits_until_the_result_is_saved(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = saving._compare

    def pressed(*args: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        compare(*args)

    monkeypatch.setattr(saving, "_compare", pressed)
    before = signal.getsignal(signal.SIGINT)
    result = hs.fit(**settings)
    assert result.status == "done"
    assert around(settings) == {"run"}
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_that_are_no_run_are_never_touched(overwrite: bool, settings: Settings) -> None:
    settings["out"].mkdir()
    (settings["out"] / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError) as error:
        hs.fit(**settings | {"overwrite": overwrite})
    assert "files there that are not a run" in error.value.found
    assert "--overwrite" not in error.value.fix
    assert [path.name for path in settings["out"].iterdir()] == ["thesis.txt"]


def test_an_empty_folder_is_free(settings: Settings) -> None:
    settings["out"].mkdir()
    hs.fit(**settings)
    assert (settings["out"] / "result.json").is_file()


def test_a_file_in_the_place_of_the_folder_is_refused(settings: Settings) -> None:
    settings["out"].write_text("x")
    with pytest.raises(RunError, match="not a run"):
        hs.fit(**settings | {"overwrite": True})
    assert settings["out"].read_text() == "x"


def test_a_folder_below_a_file_is_refused_before_anything_is_read(settings: Settings) -> None:
    settings["out"].write_text("x")
    given = {"out": settings["out"] / "a" / "b", "train": "no such file"}
    with pytest.raises(RunError, match=r"run, which is a file\. Choose another --out"):
        hs.fit(**settings | given)


@pytest.mark.parametrize("way", ["python", "command", "file"])
def test_the_home_folder_may_be_written_short(
    way: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = settings.pop("out").parent
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    given = {k: str(v) if isinstance(v, Path) else v for k, v in settings.items()}
    if way == "python":
        hs.fit(**settings, out="~/x")
    else:
        file = home / "run.yaml"
        file.write_text(json.dumps(given | ({"out": "~/x"} if way == "file" else {})))
        words = ["--out=~/x"] if way == "command" else []
        assert command(["fit", "--config", str(file), "--quiet", *words]) == 0
        assert command(["predict", "~/x", "--data", given["validation"], "--out=~/p.csv"]) == 0
        assert (home / "p.csv").is_file()
    assert (home / "x" / "result.json").is_file()
    assert not (home / "~").exists()


FULL = {
    "system": OSError(errno.ENOSPC, "No space left on device"),
    "old safetensors": SafetensorError(
        'Error while serializing: I/O error: Os { code: 28, kind: StorageFull, message: "No space '
        'left on device" }'
    ),
    "safetensors": SafetensorError(
        "Error while serializing: I/O error: No space left on device (os error 28)"
    ),
    "tokenizers": Exception("No space left on device (os error 28)"),
}


@pytest.mark.parametrize(
    ("name", "where"), spread(product(FULL, ["checkpoint", "model", "result"]), times=1)
)
def test_a_full_disk_loses_nothing(
    name: str,
    where: str,
    settings: Settings,
    old: Tensors,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise FULL[name]

    places = {
        "checkpoint": "headstart.training.checkpoint.save_file",
        "model": "transformers.PreTrainedModel.save_pretrained",
        "result": "headstart.steps.save.write_text",
    }
    changed = settings | {"seed": 1, "overwrite": True, "checkpoint_steps": 1}
    with monkeypatch.context() as patch, pytest.raises(RunError) as told:
        patch.setattr(places[where], full)
        hs.fit(**changed)
    assert "a full disk" in told.value.found
    assert "--resume" in told.value.fix
    assert same(saved(settings["out"]), old)
    hs.fit(**changed | {"overwrite": False, "resume": True})
    assert hs.RunResult.read(settings["out"] / "result.json").seed == 1


def test_other_errors_are_not_taken_for_a_full_disk(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", fail)
    with pytest.raises(OSError, match="Input/output"):
        hs.fit(**settings)


def test_a_forbidden_folder_is_told_of(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/somewhere")

    monkeypatch.setattr(Path, "mkdir", forbid)
    with pytest.raises(RunError, match=r"/somewhere: Permission denied\. Choose another"):
        hs.fit(**settings)


def test_too_little_space_is_found_before_training(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(settings["out"].parent)
    monkeypatch.setattr(folders.shutil, "disk_usage", lambda _: usage._replace(free=100_000))
    watch = Watch()
    with pytest.raises(RunError, match="MiB of free space"):
        hs.fit(callback=watch, **settings)
    assert watch.points == []
    assert around(settings) == set()


BAD = [
    ({"text": "sentense"}, DataError),
    ({"train": frame(24).assign(label="good")}, DataError),
    ({"train": frame(24).assign(sentence="")}, DataError),
    ({"validation": frame(4).assign(label="other")}, DataError),
    ({"strategy": "bitfitt > full"}, ConfigError),
    ({"strategy": "prefix"}, ConfigError),
    ({"task": "rte", "text": ()}, HeadstartError),
    ({"model": "does-not-exist"}, HeadstartError),
    ({"max_length": 5000}, ConfigError),
    ({"head": "does-not-exist"}, HeadstartError),
    ({"train_rows": 1000}, ConfigError),
]


@pytest.mark.parametrize(("wrong", "kind"), BAD)
def test_bad_input_leaves_no_folder(
    wrong: Settings, kind: type[HeadstartError], settings: Settings
) -> None:
    if "task" in wrong:
        settings |= {"train": None, "validation": None, "data": settings["out"].parent}
    with pytest.raises(kind):
        hs.fit(**settings | wrong)
    assert around(settings) == set()


def test_a_plan_writes_nothing(settings: Settings) -> None:
    hs.plan(**settings)
    assert around(settings) == set()


def test_checks_come_before_anything_is_loaded(
    settings: Settings, old: Tensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "prepare_run", lambda *_: pytest.fail("loaded"))
    with pytest.raises(RunError):
        hs.fit(**settings)


def test_without_a_name_the_folder_says_what_the_run_is(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(settings["out"].parent)
    hs.fit(**settings | {"out": None, "strategy": "bitfit(steps=1) > full(steps=1)", "seed": 4})
    found = sorted(Path("runs").iterdir())
    assert [p.name for p in found] == ["train-bitfit-steps=1-full-steps=1-seed4"]
    assert (found[0] / "model" / "config.json").is_file()


def test_an_interrupt_before_the_first_checkpoint_leaves_nothing_in_the_way(
    settings: Settings,
) -> None:
    def interrupt(_attempt: int, _step: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hs.fit(callback=Watch(interrupt), **settings)
    assert around(settings) == set()
    hs.fit(**settings)


def test_the_mark_of_unfinished_runs_is_no_name(settings: Settings) -> None:
    for more in ({}, {"resume": True}):
        with pytest.raises(ConfigError, match=r"Write --out .*run$"):
            hs.fit(**settings | {"out": Path(f"{settings['out']}.partial"), **more})


def test_a_plan_looks_at_the_folder_too(settings: Settings, old: Tensors) -> None:
    with pytest.raises(RunError, match="another run"):
        hs.plan(**settings)


def test_the_working_folder_stands_beside_the_final_one(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "a.b")
    assert folder.work == tmp_path / "a.b.partial"
    folder.check(FitConfig())


def test_a_log_that_cannot_be_written_stops_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("headstart.steps.output.logfile.open_own", lambda _: Full())
    assert hs.fit(**settings).status == "done"
    assert "Traceback" not in capsys.readouterr().err
