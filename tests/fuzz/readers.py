"""Every kind of file that headstart reads: how whole ones are made, and what reads them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tomllib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import torch
import yaml

import tiny
import tiny_pictures
import tiny_records
import tiny_sound
from fuzz.mutations import Write, as_json, as_yaml
from headstart.cli import main
from headstart.config import FitConfig
from headstart.configfile import read_settings, without_trust
from headstart.data.tables.mediafolder import BESIDE
from headstart.inputs.audio import Audio
from headstart.inputs.image import Image
from headstart.inputs.media.picture import decode as decode_picture
from headstart.inputs.media.sound import decode as decode_sound
from headstart.inputs.media.sound import resample
from headstart.models.checkpoints.loading import load_classifier, load_saved, load_tokenizer
from headstart.models.checkpoints.saving import save_classifier
from headstart.models.checkpoints.sentence import sentence_pooling
from headstart.models.head_choice import Target
from headstart.models.headfile import Head
from headstart.steps.output.saved import saved_precision, saved_task, task_record
from headstart.study import damage
from headstart.study.plan import read_plan, read_plan_file
from headstart.study.running.locks import RunLocks
from headstart.study.store import PlannedRun, Store
from headstart.tasks.userfile import from_columns, read_task_file
from headstart.training.checkpoint import load_checkpoint, save_checkpoint

TWO = Target(("no", "yes"))
SETTINGS = """
model: m
train: t.csv
text: [a, b]
label: "no"
lr: 1.0e-5
strategy: bitfit(epochs=2) > full
seed: 3
metrics: [accuracy]
"""
STUDY = """
tasks: [rte, {name: mine, train: t.csv, text: sentence}]
models: [m]
strategies: [ft, "bitfit(epochs=2) > full"]
seeds: [0, 1]
train_rows: [100, all]
grid: {lr: [1.0e-5, 3.0e-5]}
settings: {epochs: 4}
baseline: ft
"""
TASK = """
text: [sentence, other]
label: opinion
labels: [negative, positive]
metrics: [macro_f1]
values: {opinion: {a: b}}
hub: glue:rte
spans:
  - {column: sentence, start: from, end: to}
"""


PICTURES: dict[str, dict[str, Any]] = {
    "PNG": {}, "JPEG": {}, "GIF": {}, "BMP": {}, "WEBP": {}, "PPM": {}, "TIFF": {},
    "TIFF with deflate": {"compression": "tiff_adobe_deflate"},
    "PNG with EXIF": {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"},
}  # fmt: skip
SOUNDS: dict[str, dict[str, Any]] = {
    "WAV": {}, "WAV of floats": {"subtype": "FLOAT"}, "FLAC": {}, "OGG": {}, "MP3": {}, "AIFF": {},
}  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """A kind of file.

    Args:
        make: Writes a folder with whole files.
        file: Which of them is changed, as a pattern.
        read: Reads the folder.
        parse: Gives a file's values; ``None`` where only its bytes are changed.
        write: Writes values back.
        cost: How many times slower than the quickest it is.
    """

    make: Callable[[Path], object]
    file: str
    read: Callable[[Path], object]
    parse: Callable[[bytes], Any] | None = json.loads
    write: Write | None = as_json
    cost: int = 1


def shown(*words: object) -> None:
    """Carry out a command; a fault of headstart's own raises."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["--debug", *map(str, words)])
    if code == 1:
        err.flush()
        raise RuntimeError(err.buffer.getvalue().decode())  # type: ignore[attr-defined]


def text(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content, encoding="utf-8")


def head(folder: Path) -> None:
    tensors = {"classifier.weight": torch.ones(2, 4), "classifier.bias": torch.zeros(2)}
    scores = {"accuracy": 0.5, "score": 0.5}
    Head(tensors, "BertForSequenceClassification", ("no", "yes"), "sha256:1", scores=scores).save(
        folder
    )


def model(form: str) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        source = tiny.save_pretrained("bert", folder / "source")
        split = load_classifier(str(source), TWO, head=form)
        save_classifier(split, TWO, tiny.tokenizer(), folder / "model", "card")

    return make


def load_model(folder: Path) -> None:
    source = str(folder / "model")
    split, _ = load_saved(source)
    load_tokenizer(source, split.model.config.vocab_size)
    sentence_pooling(source)


def load_backbone(folder: Path) -> None:
    source = str(folder / "model")
    split = load_classifier(source, TWO)
    load_tokenizer(source, split.model.config.vocab_size)


def run_record(folder: Path) -> None:
    (folder / "x" / "model").mkdir(parents=True)
    (folder / "x" / "model" / "config.json").write_text("{}")
    result = tiny_records.result(tiny_records.axes("full", 1), 0.5)
    result.task |= {"spec": task_record(from_columns(["sentence"])), "max_length": 64}
    (folder / "x" / "result.json").write_text(result.to_json(), encoding="utf-8")


def read_record(folder: Path) -> None:
    saved_task(str(folder / "x"))
    saved_precision(str(folder / "x"))
    study = folder / "study"
    if not study.exists():
        study_folder(study)
    shown("study", "card", study / "s", "--model", folder / "x")


def study_folder(folder: Path) -> None:
    store = Store(folder / "s").open(create=True)
    runs = []
    for seed in range(2):
        for line in ("full", "bitfit > full"):
            axes = tiny_records.axes(line, seed)
            runs.append(PlannedRun(f"{len(runs):x}a", axes, {**axes, "epochs": 3, "model": "m"}))
    lost = PlannedRun("ff", tiny_records.axes("full", 7), {"seed": 7})
    store.add_plan([*runs, lost], {"baseline": "full", "strategies": ["full", "bitfit > full"]})
    for run in runs:
        result = tiny_records.result(run.axes, 0.5 + run.axes["seed"] / 10).to_plain()
        store.put(run, result, np.zeros((4, 2), np.float32))
    store.put_failure(lost, {"kind": "x", "error": "y", "trace": ""})
    store.create("locks/ff.0.json", {"owner": "a", "host": "b", "pid": 1, "born": 2.0, "beat": 3})


def read_study_folder(folder: Path) -> None:
    shown("study", "status", folder / "s")
    RunLocks(Store(folder / "s").open()).take("ff")
    shown("study", "table", folder / "s")
    shown("study", "table", folder / "s", "--format", "latex")
    shown("study", "card", folder / "s")
    shown("report", folder / "s", "--out", folder / "report.html")


def as_result(values: Any) -> bytes:
    """Write a result whose digest fits, whatever it holds."""
    if isinstance(values, dict) and {"result", "measured"} <= values.keys():
        found = {"result": values["result"], "measured": values["measured"]}
        with contextlib.suppress(ValueError, RecursionError):
            values = {**values, "digest": damage.digest(found)}
    return as_json(values)


def as_plan(folder: Path) -> None:
    """Name a plan as its content wants it."""
    for path in (folder / "s" / "plans").iterdir():
        with contextlib.suppress(ValueError, RecursionError, AttributeError):
            path.rename(path.with_name(f"{damage.plan_name(json.loads(path.read_bytes()))}.json"))


def read_plans(folder: Path) -> None:
    as_plan(folder)
    read_study_folder(folder)


def checkpoint(folder: Path) -> None:
    save_checkpoint(folder, "1", {"stage": 0, "loop": {"step": 3}}, {"a": torch.ones(3)})


def read_checkpoint(folder: Path) -> None:
    """Read a checkpoint whose digests fit."""
    pointer = folder / "latest.json"
    told = json.loads(pointer.read_text())
    for name in told["digests"]:
        data = (folder / "1" / name).read_bytes()
        told["digests"][name] = hashlib.sha256(data).hexdigest()
    pointer.write_text(json.dumps(told))
    load_checkpoint(folder)


def read_interrupted(folder: Path) -> None:
    shown("fit", "--resume", "--out", folder / "x", "--dry-run")


def interrupted(folder: Path) -> None:
    (folder / "x.partial").mkdir()
    (folder / "x.partial" / "settings.yaml").write_text(SETTINGS)


def drawn(name: str, **how: Any) -> Callable[[Path], object]:
    """Return what writes a picture, of the kind that its name's ending says."""
    return lambda folder: tiny_pictures.picture("red", 0).save(folder / name, **how)


def read_picture(folder: Path) -> None:
    (path,) = folder.iterdir()
    frame = pd.DataFrame({"image": [str(path)]})
    task = from_columns((), image="image")
    (found,) = Image.read(frame, task, where="rows", keep_empty=False).inputs
    found.medium.again(decode_picture)


def played(name: str, **how: Any) -> Callable[[Path], object]:
    """Return what writes two channels of sound, of the kind that its name's ending says."""
    rate = 8_000  # MP3 has none below
    wave = np.stack([tiny_sound.tone(100 * n, 0.3, rate) for n in (1, 2)], axis=1)
    return lambda folder: soundfile.write(folder / name, wave, rate, **how)


def read_sound(folder: Path) -> None:
    """Read a sound up to what a feature extractor is given."""
    (path,) = folder.iterdir()
    frame = pd.DataFrame({"audio": [str(path)]})
    task = from_columns((), audio="audio")
    (found,) = Audio.read(frame, task, where="rows", keep_empty=False).inputs
    sound = found.again(decode_sound)
    resample(sound.wave, sound.rate, 16_000, 30)


def read_archive(folder: Path) -> None:
    """Read two pictures of an archive, one by the archive's name."""
    frame = pd.DataFrame({"image": ["x.zip/0.png", "1.png"]})
    frame.attrs[BESIDE] = str(folder)
    Image.read(frame, from_columns((), image="image"), where="rows", keep_empty=False)


def archive(folder: Path) -> None:
    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED) as made:
        for number in range(2):
            data = io.BytesIO()
            tiny_pictures.picture("red", number).save(data, "PNG")
            made.writestr(f"{number}.png", data.getvalue())


READERS: dict[str, Reader] = {
    **{
        f"picture in {kind}": Reader(
            drawn(f"x.{kind.split()[0].lower()}", **how), "x.*", read_picture, None, None, cost=5
        )
        for kind, how in PICTURES.items()
    },
    **{
        f"sound in {kind}": Reader(
            played(f"x.{kind.split()[0].lower()}", **how), "x.*", read_sound, None, None, cost=5
        )
        for kind, how in SOUNDS.items()
    },
    "archive of pictures": Reader(archive, "x.zip", read_archive, None, None, cost=5),
    "settings": Reader(
        text("f.yaml", SETTINGS), "f.yaml",
        lambda f: FitConfig.build(without_trust(read_settings(f / "f.yaml"), "f", said=False)),
        yaml.safe_load, as_yaml,
    ),
    "settings in TOML": Reader(
        text("f.toml", 'model = "m"\ntrain = "t"\ntext = ["a"]\nlr = 1e-5\n[x]\ny = 1979-05-27\n'),
        "f.toml", lambda f: FitConfig.build(read_settings(f / "f.toml")),
        lambda data: tomllib.loads(data.decode()), None,
    ),
    "study file": Reader(
        text("f.yaml", STUDY), "f.yaml", lambda f: read_plan(read_plan_file(f / "f.yaml")),
        yaml.safe_load, as_yaml, cost=2,
    ),
    "task file": Reader(
        text("f.yaml", TASK), "f.yaml", lambda f: read_task_file(f / "f.yaml"),
        yaml.safe_load, as_yaml,
    ),
    "settings of an interrupted run": Reader(
        interrupted, "x.partial/settings.yaml", read_interrupted, yaml.safe_load, as_yaml, cost=3
    ),
    "head": Reader(head, "head.json", lambda f: shown("head", "inspect", f), cost=4),
    "weights of a head": Reader(
        head, "head.safetensors", lambda f: shown("head", "inspect", f), None, None, cost=4
    ),
    "config.json of a model": Reader(model("native"), "model/config.json", load_model, cost=20),
    "config.json of a backbone": Reader(
        model("native"), "model/config.json", load_backbone, cost=20
    ),
    "weights of a model": Reader(
        model("native"), "model/model.safetensors", load_model, None, None, cost=20
    ),
    "tokenizer": Reader(model("native"), "model/tokenizer.json", load_model, cost=20),
    "settings of a tokenizer": Reader(
        model("native"), "model/tokenizer_config.json", load_model, cost=20
    ),
    "form of a head of ours": Reader(model("linear"), "model/headstart.json", load_model, cost=20),
    "weights of a head of ours": Reader(
        model("linear"), "model/head.safetensors", load_model, None, None, cost=20
    ),
    "modules of a model": Reader(model("linear"), "model/modules.json", load_model, cost=20),
    "record of a run": Reader(run_record, "x/result.json", read_record, cost=10),
    "description of a study": Reader(study_folder, "s/study.json", read_study_folder, cost=20),
    "plan of a study": Reader(study_folder, "s/plans/*.json", read_plans, cost=20),
    "result of a study": Reader(
        study_folder, "s/results/*.json", read_study_folder, write=as_result, cost=20
    ),
    "failure of a study": Reader(study_folder, "s/failures/*.json", read_study_folder, cost=20),
    "lock of a run": Reader(
        study_folder, "s/locks/*.json",
        lambda f: (RunLocks(Store(f / "s").open()).held_by_others(),
                   RunLocks(Store(f / "s").open()).take("ff")), cost=2,
    ),
    "logits of a study": Reader(
        study_folder, "s/logits/*.npy", lambda f: Store(f / "s").open().logits("0a"), None, None,
        cost=2,
    ),
    "checkpoint": Reader(checkpoint, "latest.json", load_checkpoint, cost=2),
    "state in a checkpoint": Reader(checkpoint, "1/state.json", read_checkpoint, cost=2),
    "tensors in a checkpoint": Reader(
        checkpoint, "1/tensors.safetensors", read_checkpoint, None, None, cost=2
    ),
}  # fmt: skip
