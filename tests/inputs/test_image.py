"""Runs on pictures: every way in, every family with every tuner, and what is refused."""

from __future__ import annotations

import copy
import itertools
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset, Features, Value
from datasets import Image as ImageFeature
from transformers import AutoModelForImageClassification, pipeline
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

import headstart as hs
import tiny
import tiny_pictures as pictures
from headstart.cli import main
from headstart.config import FitConfig
from headstart.errors import HeadstartError, ModelError
from headstart.inputs.image import Image
from headstart.inputs.media import pixels as _pixels
from headstart.inputs.media.pixels import LEAST_AREA, WIDEST, random_box
from headstart.inputs.media.processor import load_scaling
from headstart.models.backbone import SplitModel
from headstart.run import run
from headstart.tasks.userfile import from_columns
from headstart.training.frozen import features
from headstart.tuners import TUNERS
from tiny_runs import Watch, same, saved, scores
from tiny_tuners import make

_KNOWN = {"adapter", "histogram", "hydra"}  # need attention and feed-forward maps that are known
_MAPS = {"lora", "dora", "rslora", "pissa", "vera", "eva", "oft", "ia3", "beft", "peft"}
REFUSED: dict[str, set[str]] = {
    "vit": set(),
    "deit": set(),
    "beit": {"prefix"},
    "dinov2": set(),
    "swin": {*_KNOWN, "ia3", "prefix"},
    "convnext": {*_KNOWN, *_MAPS, "prefix"},
    "resnet": {*_KNOWN, *_MAPS, "prefix", "layernorm"},
}
"""Tuners that a family has no place for."""


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures.save(tmp_path_factory.mktemp("model") / "vit")


def settings(model: Path, out: Path, **more: Any) -> dict[str, Any]:
    return {
        "model": str(model), "train": pictures.frame(6), "validation": pictures.frame(3, 1),
        "image": "image", "strategy": "bitfit(steps=2) > full(steps=4)", "batch_size": 6,
        "guard": False, "threads": 1, "out": out, **more,
    }  # fmt: skip


@pytest.mark.parametrize("family", pictures.FAMILIES)
def test_every_tuner_trains_on_a_family_or_is_refused_by_name(family: str, tmp_path: Path) -> None:
    pictures.save(tmp_path / "model", family)
    plain = AutoModelForImageClassification.from_pretrained(tmp_path / "model").eval()
    batch = {"pixel_values": torch.randn(4, 3, pictures.SIZE, pictures.SIZE)}
    refused = set()
    for name in TUNERS:
        split = SplitModel(copy.deepcopy(plain))
        before = split.fingerprint()
        tuner = make(name)
        try:
            tuned = tuner.attach(split)
        except ModelError as error:
            refused.add(name)
            assert type(split.base).__name__ in error.found
            assert error.fix
            continue
        split.train_only(tuned)
        split.model.train()
        loss = torch.nn.functional.cross_entropy(
            split.model(**batch).logits, torch.tensor([0, 1, 1, 0])
        )
        loss.backward()
        got = [p.grad for p in tuned.values() if p.grad is not None]
        assert got or not tuned, name
        assert all(torch.isfinite(grad).all() for grad in got)
        buffers = {n: b.clone() for n, b in split.buffers()}
        tuner.detach(split)
        if buffers:
            split.load_buffers(dict(SplitModel(plain).buffers()))
        assert split.fingerprint() == before, name
    assert refused == REFUSED[family]


def test_folders_tables_archives_and_objects_give_the_same_rows(vit: Path, tmp_path: Path) -> None:
    folder = pictures.folder_of_classes(tmp_path / "all", 4)
    pictures.folder_of_classes(tmp_path / "split" / "train", 4)
    pictures.folder_of_classes(tmp_path / "split" / "validation", 2, 1)
    files = sorted(folder.rglob("*.png"))
    names = [file.relative_to(folder).as_posix() for file in files]
    labels = [file.parent.name for file in files]
    pd.DataFrame({"image": names, "label": labels}).to_csv(folder / "rows.csv", index=False)
    (tmp_path / "packed").mkdir()
    with zipfile.ZipFile(tmp_path / "packed" / "images.zip", "w") as archive:
        for file, name in zip(files, names, strict=True):
            archive.write(file, name)
    pd.DataFrame({"image": names, "label": labels}).to_json(
        tmp_path / "packed" / "rows.jsonl", orient="records", lines=True
    )
    data = Dataset.from_dict(
        {"image": list(map(str, files)), "label": labels},
        features=Features({"image": ImageFeature(), "label": Value("string")}),
    )
    held = pd.DataFrame(
        {"image": [np.asarray(pictures.Image.open(f)) for f in files], "label": labels}
    )
    ways: dict[str, Any] = {
        "folder": str(folder),
        "table": str(folder / "rows.csv"),
        "archive": str(tmp_path / "packed" / "rows.jsonl"),
        "dataset": data,
        "arrays": held,
        "splits": str(tmp_path / "split"),
    }
    found = {}
    for name, train in ways.items():
        more = {"train": train, "validation": str(tmp_path / "split"), "strategy": "full(steps=3)"}
        done = hs.fit(**settings(vit, tmp_path / f"run-{name}", **more))
        found[name] = [point.train_loss for stage in done.stages for point in stage.curve]
    assert len(set(map(str, found.values()))) == 1, found


def test_the_pipeline_gives_the_same_probabilities(vit: Path, tmp_path: Path) -> None:
    hs.fit(**settings(vit, tmp_path / "run"))
    given = [pictures.picture(colour, 50) for colour in pictures.COLOURS]
    plain = pipeline("image-classification", model=str(tmp_path / "run" / "model"))
    wanted = [{one["label"]: one["score"] for one in row} for row in plain(given, top_k=3)]
    for row, prediction in zip(wanted, hs.load(tmp_path / "run").predict(given), strict=True):
        assert prediction.probabilities == pytest.approx(row, abs=1e-5)
    assert len({round(row["red"], 6) for row in wanted}) == 3


def test_a_run_is_changed_at_random_as_its_seed_says(vit: Path, tmp_path: Path) -> None:
    def trained(name: str, **more: Any) -> Any:
        hs.fit(**settings(vit, tmp_path / name, **more))
        return saved(tmp_path / name)

    first = trained("a")
    assert same(first, trained("b"))
    assert not same(first, trained("c", augment=False))
    micro = trained("d", micro_batch_size=2)
    assert first.keys() == micro.keys()
    assert all(torch.allclose(first[n], micro[n], atol=1e-3) for n in first)


def test_a_resumed_run_ends_as_one_without_a_break(vit: Path, tmp_path: Path) -> None:
    def stop(stage: int, step: int) -> None:
        if (stage, step) == (2, 2):
            raise KeyboardInterrupt

    frames = {"train": pictures.frame(6), "validation": pictures.frame(3, 1)}
    own = settings(vit, tmp_path / "x") | {"train": "-", "validation": "-", "checkpoint_steps": 1}
    whole = run(FitConfig.build(own | {"out": tmp_path / "whole"}), Watch(), frames)
    with pytest.raises(KeyboardInterrupt):
        run(FitConfig.build(own), Watch(stop), frames)
    resumed = run(FitConfig.build(own | {"resume": True}), Watch(), frames)
    assert same(saved(tmp_path / "whole"), saved(tmp_path / "x"))
    assert scores(whole) == scores(resumed)


def test_only_training_draws(vit: Path) -> None:
    scaling = load_scaling(str(vit))
    rows = _pixels.prepare(
        Image.read(pictures.frame(2), tiny_task(), where="the rows", keep_empty=False),
        scaling, 17, augment=True,
    )  # fmt: skip
    plain, again = rows.collate([0, 1]), rows.collate([0, 1])
    drawn, other = rows.collate([0, 1], 5), rows.collate([0, 1], 6)
    assert torch.equal(plain["pixel_values"], again["pixel_values"])
    assert not torch.equal(plain["pixel_values"], drawn["pixel_values"])
    assert not torch.equal(other["pixel_values"], drawn["pixel_values"])
    # A row's change depends on neither its batch nor its place in it.
    assert torch.equal(rows.collate([1], 5)["pixel_values"][0], drawn["pixel_values"][1])


def tiny_task() -> Any:
    return from_columns((), image="image")


def test_a_random_part_lies_inside_and_is_large_enough() -> None:
    rng = np.random.default_rng(0)
    parts = [random_box(rng, 30, 40) for _ in range(500)]
    shares = []
    for left, top, right, bottom in parts:
        assert 0 <= left < right <= 40
        assert 0 <= top < bottom <= 30
        across, down = (right - left) / 40, (bottom - top) / 30
        shares.append(across * down)
        assert across / down <= WIDEST + 1e-9
        assert down / across <= WIDEST + 1e-9
    assert LEAST_AREA * 0.85 < min(shares) < 0.55
    assert max(shares) > 0.95


def test_pictures_that_are_not_kept_are_read_again(
    vit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hs.fit(**settings(vit, tmp_path / "kept"))
    monkeypatch.setattr(_pixels, "LARGEST_STORE", 0)
    hs.fit(**settings(vit, tmp_path / "read"))
    assert same(saved(tmp_path / "kept"), saved(tmp_path / "read"))


@pytest.mark.parametrize("more", [{"select": "best"}, {"strategy": "bitfit(steps=3)"}])
def test_running_statistics_belong_to_the_model_that_is_saved(
    more: dict[str, Any], tmp_path: Path
) -> None:
    model = pictures.save(tmp_path / "resnet", "resnet")
    done = hs.fit(**settings(model, tmp_path / "run", eval_every=1, lr=1e-2, **more))
    told = hs.load(tmp_path / "run").evaluate_frame(pictures.frame(3, 1))
    assert told["loss"] == pytest.approx(done.scores["loss"], abs=1e-4)


@pytest.mark.parametrize("kept", [True, False])
def test_running_statistics_are_those_of_the_checkpoint_where_the_backbone_is_frozen(
    kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kept:
        monkeypatch.setattr(features, "LARGEST_STORE", 0)
    model = pictures.save(tmp_path / "resnet", "resnet")
    before = SplitModel(AutoModelForImageClassification.from_pretrained(model)).fingerprint()
    hs.fit(**settings(model, tmp_path / "run", strategy="bitfit(steps=3) > head(steps=1)"))
    plain = AutoModelForImageClassification.from_pretrained(tmp_path / "run" / "model")
    assert SplitModel(plain).fingerprint() == before


OWN = [*itertools.product(("vit", "swin", "beit"), ("linear", "mlp"), ("first", "mean"))]


@pytest.mark.parametrize(("family", "head", "pooling"), [OWN[0], OWN[3], OWN[5], OWN[10]])
def test_a_head_of_ours_reads_a_list_of_vectors(
    family: str, head: str, pooling: str, tmp_path: Path
) -> None:
    model = pictures.save(tmp_path / "model", family)
    done = hs.fit(**settings(model, tmp_path / "run", head_type=head, pooling=pooling))
    told = hs.load(tmp_path / "run").evaluate_frame(pictures.frame(3, 1))
    assert told["loss"] == pytest.approx(done.scores["loss"], abs=1e-4)
    assert not (tmp_path / "run" / "model" / "modules.json").exists()


@pytest.mark.parametrize("family", ["convnext", "resnet"])
def test_a_head_of_ours_is_refused_where_there_is_a_map(family: str, tmp_path: Path) -> None:
    model = pictures.save(tmp_path / "model", family)
    with pytest.raises(ModelError, match=r"no hidden_size.*--head-type native"):
        hs.fit(**settings(model, tmp_path / "run", head_type="linear"))


def test_what_does_not_fit_is_refused_before_training(vit: Path, tmp_path: Path) -> None:
    text = tiny.save_pretrained("bert", tmp_path / "bert")
    words = pd.DataFrame({"text": ["a film", "a plot"] * 6, "label": ["x", "y"] * 6})
    bare = pictures.save(tmp_path / "bare")
    (bare / "preprocessor_config.json").unlink()
    other = pictures.save(tmp_path / "other")
    ViTImageProcessorPil(size={"height": 20, "width": 20}).save_pretrained(other)
    huge = pictures.save(tmp_path / "huge")
    ViTImageProcessorPil(size={"height": 10**6, "width": 10**6}).save_pretrained(huge)
    free = pictures.save(tmp_path / "free")
    ViTImageProcessorPil(size={"shortest_edge": 16}).save_pretrained(free)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"model": str(text)}, "AutoModelForImageClassification"),
        ({"train": words, "validation": None, "image": None, "text": "text"}, "--image"),
        ({"model": str(bare)}, "an image processor beside the model"),
        ({"model": str(other)}, "20 × 20 pixels"),
        ({"model": str(huge)}, "sizes are from 1 to"),
        ({"model": str(free)}, "every picture to one size"),
        ({"head_init": "labels"}, "to which no label name can be given"),
        ({"long_texts": "windows"}, "rows of one text or a pair"),
        ({"image": "label", "label": "image"}, "no such file"),
        ({"image": "picture"}, "image"),
        ({"text": ("image",)}, "one of --text, --image and --audio"),
    ]  # fmt: skip
    for number, (more, told) in enumerate(cases):
        with pytest.raises(HeadstartError, match=told):
            hs.fit(**settings(vit, tmp_path / f"run-{number}") | more)
    with pytest.raises(HeadstartError, match="--no-augment"):
        hs.fit(model=str(text), train=words, text="text", augment=False, out=tmp_path / "t")
    for name, value in (("max_length", 64), ("max_seconds", 3.0)):
        option = f"--{name.replace('_', '-')}"
        with pytest.raises(HeadstartError, match=f"for {option}; found pictures"):
            hs.fit(**settings(vit, tmp_path / "run-x") | {name: value})
    with pytest.raises(HeadstartError, match="sound, for --max-seconds; found single texts"):
        hs.fit(model=str(text), train=words, text="text", max_seconds=3.0, out=tmp_path / "t")
    assert not list(tmp_path.glob("run-*"))


def test_pretrain_head_is_refused_by_name(vit: Path) -> None:
    model = AutoModelForImageClassification.from_pretrained(vit)
    rows = [{"pixel_values": torch.zeros(3, 16, 16).tolist(), "label": i % 2} for i in range(4)]
    with pytest.raises(ModelError, match="ViTForImageClassification, which reads pixel_values"):
        hs.pretrain_head(model, rows)


def test_what_is_lost_is_told(vit: Path, tmp_path: Path) -> None:
    train = pictures.frame(6)
    train.loc[3, "image"].putalpha(100)
    done = hs.fit(**settings(vit, tmp_path / "run", train=train))
    assert any("1 of 18 training rows have transparent parts" in w for w in done.warnings)


def test_pictures_are_predicted_however_they_are_given(vit: Path, tmp_path: Path) -> None:
    hs.fit(**settings(vit, tmp_path / "run"))
    classifier = hs.load(tmp_path / "run")
    image = pictures.picture("green", 3)
    image.save(tmp_path / "a.png")
    several = [str(tmp_path / "a.png"), tmp_path / "a.png", image, np.asarray(image)]
    found = classifier.predict(several)
    assert len(found) == 4
    for one in found[1:]:  # the place in a batch may change last digits
        assert one.label == found[0].label
        assert one.probabilities == pytest.approx(found[0].probabilities, abs=1e-6)
    alone = classifier.predict(image)
    assert alone == classifier.predict(str(tmp_path / "a.png"))
    assert alone[0].probabilities == pytest.approx(found[0].probabilities, abs=1e-6)
    with pytest.raises(HeadstartError, match="no such file"):
        classifier.predict(["gone.png"])
    plain = hs.load(str(tmp_path / "run" / "model"))
    assert plain.predict([image]) == alone


@pytest.mark.slow
def test_the_command_line_from_folders_to_predictions(
    vit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pictures.folder_of_classes(tmp_path / "pictures" / "train", 8)
    pictures.folder_of_classes(tmp_path / "pictures" / "validation", 4, 1)
    common = ["--model", str(vit), "--train", "pictures", "--validation", "pictures"]
    assert main(["fit", *common, "--image", "image", "--epochs", "3", "--batch-size", "8",
                 "--calibrate", "--out", "run"]) == 0  # fmt: skip
    told = capsys.readouterr().out
    assert "16 × 16 pixels" in told
    assert main(["evaluate", "run", "--data", "pictures/validation"]) == 0
    assert "accuracy" in capsys.readouterr().out
    assert main(["predict", "run", "--data", "pictures/validation", "--out", "p.csv"]) == 0
    found = pd.read_csv("p.csv")
    assert (found["prediction"] == found["label"]).mean() > 0.8
    assert found.columns.tolist()[:3] == ["image", "label", "prediction"]
    assert main(["probe", *common, "--image", "image", "--seeds", "2"]) == 0
    more = ["--strategies", "ft,lp-ft", "--seeds", "2", "--epochs", "1"]
    assert main(["study", "run", *common, "--image", "image", *more, "--out", "study"]) == 0
    assert main(["report", "study"]) == 0
    assert list((tmp_path / "study").glob("*.html"))
