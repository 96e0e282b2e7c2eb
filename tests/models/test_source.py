"""What the user calls a model: found, or refused at once with what was probably meant."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import peft
import pytest
from huggingface_hub.errors import RepositoryNotFoundError
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification

from headstart.errors import HeadstartError
from headstart.models.checkpoints.loading import load_classifier
from headstart.models.checkpoints.source import ADAPTER, CONFIG, find_model, locate
from headstart.models.head_choice import Target

PEFT_WARNS = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")


def refused(source: str | Path) -> HeadstartError:
    with pytest.raises(HeadstartError) as error:
        locate(str(source))
    return error.value


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A hub that has ``org/name`` and an adapter alone; the names that it was asked for."""
    asked: list[str] = []
    files = {"org/name": CONFIG, "org/adapter": ADAPTER}

    def model_info(_self: object, name: str, **_more: Any) -> object:
        asked.append(name)
        if name in files:
            return SimpleNamespace(siblings=[SimpleNamespace(rfilename=files[name])])
        raise RepositoryNotFoundError.__new__(RepositoryNotFoundError)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    return asked


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection."""

    def model_info(*_: object, **__: object) -> None:
        raise RuntimeError("Name or service not known")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)


def test_a_run_stands_for_the_model_inside(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(folder, run / "model")
    assert find_model(str(run)) == locate(str(run)) == str(run / "model")
    assert find_model(str(folder)) == locate(str(folder)) == str(folder)
    assert find_model("org/name") == "org/name"
    assert load_classifier(str(run), Target(("no", "yes"))).head
    shutil.copytree(folder, folder / "model")
    assert find_model(str(folder)) == str(folder)


def test_the_home_folder_is_put_in(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate("~/bert") == str(folder)
    assert "'" + str(folder) + "'" in refused("~/brt").fix
    assert "does not exist" in refused("~nobody-of-this-name/bert").found


@pytest.mark.parametrize(
    "source", ["./brt", "models/brt/", "../models/brt", "a/b/c", "/nowhere", ""]
)
def test_a_path_is_not_sought_on_the_hub(
    source: str, hub: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert refused(source).found == f"{source or 'an empty name'}, which does not exist"
    assert hub == []


@pytest.mark.parametrize(
    ("source", "meant"),
    [
        ("models/brt/", "models/bert"),
        ("./modles/bert", "models/bert"),
        ("./BERT", "bert"),
        ("model/bert/deep", "models/bert/deep"),
    ],
)
def test_near_names_are_suggested(
    source: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("models/bert/deep", "models/brrt.partial", "bert"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert refused(source).fix == f"Check the spelling. Did you mean '{meant}'?"


def test_what_could_be_a_hub_name_is_asked_for_once(
    hub: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "org" / "names").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert locate("org/name") == "org/name"
    error = refused("org/nam")
    assert hub == ["org/name", "org/nam"]
    assert "the hub has no such model" in error.found
    assert "Check the spelling" in error.fix
    assert "'org/names'" in error.fix
    assert "no name that" in refused("two words").found


@pytest.mark.usefixtures("no_hub")
def test_without_a_connection_it_fails_at_once_and_in_few_words(
    capfd: pytest.CaptureFixture[str],
) -> None:
    began = time.perf_counter()
    error = refused("nobody/nothing")
    assert time.perf_counter() - began < 2
    assert error.found.startswith("nobody/nothing: no folder, not in the local cache")
    assert "Name or service not known" in error.found
    assert "connection" in error.fix
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("no_hub")
def test_without_a_connection_the_cache_serves(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cached(name: str, file: str) -> str | None:
        return str(folder / file) if (name, file) == ("org/name", CONFIG) else None

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    assert locate("org/name") == str(folder)
    refused("org/other")


def test_a_file_is_pointed_to_its_folder(folder: Path, tmp_path: Path) -> None:
    error = refused(folder / "model.safetensors")
    assert error.found == f"the file {folder / 'model.safetensors'}"
    assert str(folder) in error.fix
    (tmp_path / "rows.csv").write_text("a,b")
    assert "Give a folder with config.json" in refused(tmp_path / "rows.csv").fix


@pytest.mark.parametrize("source", ["x", "x.partial"])
def test_a_run_that_did_not_finish_is_told(
    source: str, hub: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.partial" / "checkpoints").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for error in (refused(source), refused(f"./{source}")):
        assert "x.partial, a run that did not finish" in error.found
        assert "--resume --out x" in error.fix
    assert hub == []


def test_a_folder_around_models_names_them(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "run" / "model")
    error = refused(tmp_path)
    assert "with config.json" in error.expected
    assert f"Inside it are {tmp_path / 'bert'}, {tmp_path / 'run'}." in error.fix
    (tmp_path / "empty").mkdir()
    assert refused(tmp_path / "empty").fix == "Give the folder that save_pretrained wrote."


def test_a_head_folder_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "head.json").write_text("{}")
    assert f"--head {tmp_path}" in refused(tmp_path).fix


@PEFT_WARNS
@pytest.mark.parametrize("kind", ["alone", "beside a whole model", "damaged"])
def test_a_peft_adapter_names_its_base_model(kind: str, folder: Path, tmp_path: Path) -> None:
    """Beside a whole model transformers would load the adapter's base model instead."""
    place = folder if kind == "beside a whole model" else tmp_path / "adapter"
    base = AutoModelForSequenceClassification.from_pretrained(folder)
    config = LoraConfig(task_type="SEQ_CLS", target_modules=["query"], r=2)
    get_peft_model(base, config).save_pretrained(place)
    assert (place / ADAPTER).is_file()
    if kind == "damaged":
        (place / ADAPTER).write_text("[", encoding="utf-8")
    error = refused(place)
    assert "peft adapter" in error.found
    assert (str(folder) in error.fix) == (kind != "damaged")
    assert "merge_and_unload" in error.fix


@PEFT_WARNS
def test_the_advice_for_an_adapter_works(folder: Path, tmp_path: Path) -> None:
    base = AutoModelForSequenceClassification.from_pretrained(folder)
    config = LoraConfig(task_type="SEQ_CLS", target_modules=["query"], r=2)
    get_peft_model(base, config).save_pretrained(tmp_path / "adapter")
    advice = refused(tmp_path / "adapter").fix
    before, after = "in Python ", ", and give"
    line = advice.partition(before)[2].partition(after)[0]
    exec(line.replace("FOLDER", repr(str(tmp_path / "merged"))), {"peft": peft})  # noqa: S102
    assert load_classifier(str(tmp_path / "merged"), Target(("no", "yes"))).head


NAMED = (
    "Give the base model, 'org/base'; or merge the two first: in Python peft.AutoPeftModelForSeq"
)


def adapter_file(folder: Path) -> Path:
    file = folder / ADAPTER
    file.write_text('{"base_model_name_or_path": "org/base", "task_type": "SEQ_CLS"}')
    return file


def test_an_adapter_on_the_hub_names_its_base_model(
    hub: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(name: str, file: str, **_more: Any) -> str:
        assert (name, file) == ("org/adapter", ADAPTER)
        return str(adapter_file(tmp_path))

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    error = refused("org/adapter")
    assert error.found == "org/adapter, which holds a peft adapter for org/base"
    assert error.fix.startswith(NAMED)
    assert "from_pretrained('org/adapter')" in error.fix
    assert hub == ["org/adapter"]


@pytest.mark.usefixtures("hub")
def test_an_adapter_whose_configuration_cannot_be_had_is_refused_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def download(*_: object, **_more: object) -> str:
        raise RuntimeError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    error = refused("org/adapter")
    assert error.found == "org/adapter, which holds a peft adapter"
    assert error.fix.startswith("Give the base model it was trained on")


@pytest.mark.usefixtures("no_hub")
def test_an_adapter_in_the_cache_names_its_base_model_without_a_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(adapter_file(tmp_path))
    cached = lambda _, file: path if file == ADAPTER else None  # noqa: E731
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    assert refused("org/adapter").fix.startswith(NAMED)
