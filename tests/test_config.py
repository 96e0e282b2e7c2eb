"""Settings from files and the command line: read whole, written whole, refused with all faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from headstart.config import FitConfig, write_settings
from headstart.configfile import read_assignments, read_settings
from headstart.errors import ConfigError, Faults, HeadstartError

ENOUGH: dict[str, Any] = {"model": "m", "train": "t.csv", "text": "sentence"}
# Every field with a value that is not its default.
EVERYTHING: dict[str, Any] = {
    "model": "some/model", "out": Path("runs/x"), "train": "t.csv", "validation": "d.tsv",
    "task": "rte", "data": Path("folder"), "text": ("a, b", "c"), "label": "y",
    "choices": ("c1", "c2"), "span": "word", "target": "number", "metrics": ("f1", "accuracy"),
    "validation_share": 0.123456789, "train_rows": 100, "validation_rows": 50, "max_length": 64,
    "strategy": "lora(r=4) >> full", "budget": "20m", "preset": "paper", "epochs": 1e-05,
    "total_epochs": 12.5,
    "guard": False, "head_type": "mlp", "head": "h", "ignore_backbone_mismatch": True,
    "pooling": "mean", "head_init": "zero", "head_part": "hidden",
    "lr": 5e-05, "head_lr": 0.001, "batch_size": 8, "micro_batch_size": 2, "weight_decay": 0.0,
    "clip": 0.0, "warmup": 0.0, "dropout": 0.25, "eval_every": 10, "select": "best",
    "selection": "carve", "calibrate": True, "seed": 7, "device": "cuda", "precision": "bf16",
    "threads": 2, "trust_remote_code": True, "checkpoint_minutes": 0.5, "checkpoint_steps": 3,
    "resume": True, "overwrite": True, "gradient_checkpointing": True, "offload_optimizer": True,
    "encoding": "cp1252", "empty_text": "keep", "missing_label": "drop",
    "label_columns": ("c, d", "e"), "label_separator": ";", "tune_threshold": True,
    "long_texts": "windows", "window_overlap": 9, "image": "picture", "audio": "sound",
    "augment": False, "max_seconds": 2.5,
}  # fmt: skip


def faults(**values: Any) -> list[HeadstartError]:
    with pytest.raises(HeadstartError) as error:
        FitConfig.build(values)
    return list(error.value.faults) if isinstance(error.value, Faults) else [error.value]


def test_every_field_survives_writing_and_reading(tmp_path: Path) -> None:
    assert EVERYTHING.keys() == FitConfig.model_fields.keys()
    config, default = FitConfig(**EVERYTHING), FitConfig()
    for name, value in EVERYTHING.items():
        assert getattr(config, name) == value != getattr(default, name)
    for each in (config, default):
        write_settings(each, tmp_path / "run.yaml")
        assert FitConfig(**read_settings(tmp_path / "run.yaml")) == each


def test_the_written_file_keeps_the_order_of_the_fields(tmp_path: Path) -> None:
    write_settings(FitConfig(**EVERYTHING), tmp_path / "run.yaml")
    assert list(read_settings(tmp_path / "run.yaml")) == list(FitConfig.model_fields)


def test_every_option_is_described() -> None:
    for name, field in FitConfig.model_fields.items():
        assert (field.description or "").endswith("."), name
        assert isinstance(field.json_schema_extra, dict)
        assert field.json_schema_extra["panel"], name


@pytest.mark.parametrize("name", ["label_columns", "choices", "metrics"])
def test_names_with_commas_between_are_several_where_one_alone_makes_no_sense(name: str) -> None:
    several = FitConfig.build({"model": "m", "train": "t", "text": ["a,b"], name: ["x, y,z"]})
    assert getattr(several, name) == ("x", "y", "z")
    assert several.text == ("a,b",)
    each = FitConfig.build({"model": "m", "train": "t", "text": ["a"], name: ["x,y", "z"]})
    assert getattr(each, name) == ("x,y", "z")


def test_dashes_and_lists_in_one_text_are_understood() -> None:
    config = FitConfig.build({**ENOUGH, "text": "a, b", "metrics": "f1", "batch-size": "8"})
    assert (config.text, config.metrics, config.batch_size) == (("a", "b"), ("f1",), 8)
    assert FitConfig.build({**ENOUGH, "text": ["a, b"]}).text == ("a, b",)


def test_columns_may_be_called_by_whole_numbers() -> None:
    config = FitConfig.build({**ENOUGH, "text": 0, "label": 2020})
    assert (config.text, config.label) == (("0",), "2020")
    assert FitConfig.build({**ENOUGH, "text": [0, "b"]}).text == ("0", "b")


def test_an_unfit_value_is_not_shown_whole() -> None:
    (fault,) = faults(**{**ENOUGH, "text": {"rows": ["x" * 1000]}})
    assert len(fault.found) < 100
    assert "a name or a list of names" in fault.expected


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        FitConfig.build(ENOUGH).seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run.yaml", "model: m\nlr: 5e-5\nout: x\ntext: [a, b]\nguard: false\n"),
        ("run.yml", "{model: m, lr: 0.00005, out: x, text: [a, b], guard: no}"),
        ("run.toml", 'model = "m"\nlr = 5e-5\nout = "x"\ntext = ["a", "b"]\nguard = false\n'),
    ],
)
def test_files_in_yaml_and_toml(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    config = FitConfig.build({**read_settings(tmp_path / name), "train": "t.csv"})
    assert (config.model, config.lr, config.out) == ("m", 5e-5, Path("x"))
    assert (config.text, config.guard) == (("a", "b"), False)


@pytest.mark.parametrize(
    ("name", "content", "expected", "found"),
    [
        ("a.yaml", None, "a readable settings file", "No such file"),
        ("a.yaml", b"\xff\xfe\x00z", "a readable settings file", "utf-8"),
        ("a.yaml", b"model: [", "a file in YAML", "line 1"),
        ("a.toml", b"model = ", "a file in TOML", "a.toml"),
        ("a.toml", b"seed = 1\nseed = 2\n", "a file in TOML", "line 2"),
        ("a.yaml", b"seed: 1\nlr: 1\nseed: 2", "each key once", "'seed' in lines 1 and 3"),
        ("a.yaml", b"batch-size: 1\nbatch_size: 2", "each key once", "in lines 1 and 2"),
        ("a.yaml", b"", "a table of settings", "holds nothing"),
        ("a.yaml", b"- model", "a table of settings", "holds list"),
        ("a.yaml", b"model", "a table of settings", "holds str"),
    ],
)
def test_a_file_that_cannot_be_read(
    tmp_path: Path, name: str, content: bytes | None, expected: str, found: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError) as error:
        read_settings(tmp_path / name)
    assert expected in error.value.expected
    assert found in error.value.found
    assert name in error.value.found


def test_assignments_are_text_that_each_field_reads() -> None:
    values = read_assignments(
        ["seed=3", " lr = 5e-5", "guard=false", "strategy=lora(r=4) > full", "text=a, b",
         "label=2020", "out=null", "batch-size=8"]
    )  # fmt: skip
    assert values["strategy"] == "lora(r=4) > full"
    config = FitConfig.build({**ENOUGH, "out": "before", **values})
    assert (config.seed, config.lr, config.guard) == (3, 5e-5, False)
    assert (config.text, config.label, config.batch_size) == (("a", "b"), "2020", 8)
    assert config.out is None
    assert read_assignments(["x=a=b"]) == {"x": "a=b"}
    with pytest.raises(ConfigError, match="'seed 3'"):
        read_assignments(["lr=1", "seed 3"])


def test_an_unknown_setting_gets_a_suggestion() -> None:
    (fault,) = faults(**ENOUGH, batchsize=3)
    assert fault.found == "'batchsize'"
    assert "'batch_size'" in fault.fix


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", 0), ("lr", "fast"), ("lr", float("inf")), ("epochs", float("nan")), ("seed", -1),
        ("batch_size", 2.5), ("validation_share", 1), ("dropout", 1), ("warmup", -0.1),
        ("clip", -1), ("max_length", 3), ("train_rows", 1), ("precision", "fp8"),
        ("device", "tpu"), ("head_type", "deep"), ("select", "worst"), ("target", "rank"),
        ("guard", "maybe"), ("label", 3.5), ("text", True), ("selection", "none"), ("threads", 0),
        ("checkpoint_minutes", 0),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_told_with_its_option(name: str, value: Any) -> None:
    (fault,) = faults(**{**ENOUGH, name: value})
    assert isinstance(fault, ConfigError)
    assert name in fault.expected
    assert fault.found == repr(value)
    assert f"--{name.replace('_', '-')}" in fault.fix


def test_all_faults_are_told_at_once() -> None:
    found = faults(**ENOUGH, lr=-1, seeed=3, device="tpu", zzz=1)
    assert {f.found for f in found} == {"-1", "'seeed'", "'tpu'", "'zzz'"}
    assert {f.expected for f in faults()} == {"--model", "--train FILE or --task NAME"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"train": "t", "text": "x"}, "--model"),
        ({"model": "m", "task": "rte", "text": "x"}, "--task or --text"),
        ({"model": "m"}, "--train FILE or --task NAME"),
        ({"model": "m", "train": "t"}, "--text COLUMN"),
        ({**ENOUGH, "epochs": 2, "total_epochs": 3}, "--total-epochs"),
        ({**ENOUGH, "resume": True, "overwrite": True}, "--resume or --overwrite"),
        ({"model": "m", "data": "d"}, "--task NAME beside --data"),
        ({**ENOUGH, "data": "d"}, "--train or --data"),
        ({"model": "m", "task": "rte", "data": "d", "train": "t"}, "--train or --data"),
        ({"model": "m", "task": "rte", "validation": "v"}, "--train beside --validation"),
        ({"model": "m", "task": "rte", "validation_share": 0.3}, "--validation-share where"),
        ({**ENOUGH, "validation": "v", "validation_share": 0.2}, "--validation-share where"),
    ],
)
def test_what_contradicts_is_refused(values: dict[str, Any], expected: str) -> None:
    (fault,) = faults(**values)
    assert expected in fault.expected
    assert fault.fix


@pytest.mark.parametrize(
    ("more", "share"),
    [
        ({}, 0.2),
        ({"validation_share": 0.3}, 0.3),
        ({"validation": "v"}, None),
        ({"validation": "v", "selection": "carve"}, 0.2),
        ({"validation": "v", "selection": "carve", "validation_share": 0.3}, 0.3),
        ({"task": "rte", "text": None}, 0.2),
        ({"task": "rte", "text": None, "train": None}, None),
    ],
)
def test_which_share_is_held_out(more: dict[str, Any], share: float | None) -> None:
    assert FitConfig.build({**ENOUGH, **more}).held_out_share == share


@pytest.mark.parametrize(
    ("more", "option"),
    [
        ({"choices": "a,b"}, "--choices"),
        ({"span": "w"}, "--span"),
        ({"target": "number"}, "--target"),
    ],
)
def test_what_a_task_says_is_not_said_again(more: dict[str, str], option: str) -> None:
    with pytest.raises(ConfigError, match=f"--task or {option}; found both"):
        FitConfig.build({"model": "m", "task": "cb", **more})
    assert FitConfig.build({"model": "m", "task": "cb", "label": "gold"}).label == "gold"
