"""Models of sound: features, batches, runs, and what the saved model gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import pipeline

import headstart as hs
import tiny_sound
from headstart.data.batching import budget_batches
from headstart.data.rows import Rows
from headstart.errors import HeadstartError
from headstart.inputs._base import InputSettings
from headstart.inputs.audio import Audio
from headstart.inputs.media import extractor as _extractor
from headstart.inputs.media.media import Medium
from headstart.inputs.media.sound import sound_digest
from headstart.models.backbone import SplitModel
from headstart.models.checkpoints.loading import load_classifier, load_saved
from headstart.models.evaluating import evaluating
from headstart.models.head_choice import Target
from headstart.models.kinds import MODEL_CLASSES
from headstart.training.evaluate import predict_logits
from headstart.training.frozen.features import frozen_features
from headstart.training.loader import ExamplesLoader
from headstart.training.machine.runtime import Runtime
from headstart.tuners import TUNERS
from headstart.tuners._bind import bind, read_strategy

RATE = tiny_sound.RATE
MAIN = ("audio-spectrogram-transformer", "wav2vec2", "hubert", "wavlm", "whisper")
TARGET = Target(("high", "low"), "audio")
LINE = "head(until=optimum) > full"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    return {family: tiny_sound.save(folder / family, family) for family in tiny_sound.FAMILIES}


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_sound.folder_of_tones(tmp_path_factory.mktemp("tones")))


def fit(model: str, tones: str, out: Path, **settings: Any) -> Any:
    common = {"epochs": 1, "batch_size": 4, "strategy": LINE, "precision": "fp32"}
    return hs.fit(
        **{**common, "model": model, "train": tones, "audio": "audio", "out": out} | settings
    )


def rows_of(*sounds: Any) -> Rows:
    media = [Medium(str(sound_digest(sound)), held=sound) for sound in sounds]
    return Rows(media)  # type: ignore[arg-type]


def sounds(*seconds: float) -> list[tuple[Any, int]]:
    return [(tiny_sound.tone(100 + 40 * i, s, RATE, i), RATE) for i, s in enumerate(seconds)]


def loaded(model: str, **settings: Any) -> tuple[SplitModel, Any]:
    split = load_classifier(model, TARGET)
    return split, Audio.for_training(split, TARGET, InputSettings(model, **settings))


@torch.no_grad()
def logits(split: SplitModel, examples: Any, rows: Any) -> Any:
    with evaluating(split.model):
        return split.model(**examples.collate(rows)).logits.numpy()


@pytest.mark.parametrize("family", tiny_sound.FAMILIES)
def test_every_family_gives_a_row_the_same_whatever_its_batch(
    models: dict[str, str], family: str
) -> None:
    split, preprocessor = loaded(models[family])
    examples = preprocessor.encode(rows_of(*sounds(0.3, 0.21, 0.3, 0.4)))
    batches = budget_batches(examples.lengths, 10**6, 10, examples.apart)
    assert sorted(np.concatenate(batches)) == [0, 1, 2, 3]
    assert any(len(batch) > 1 for batch in batches)
    for batch in batches:
        together = logits(split, examples, batch)
        alone = np.concatenate([logits(split, examples, [row]) for row in batch])
        assert together == pytest.approx(alone, abs=2e-5)


@pytest.mark.parametrize("family", tiny_sound.FAMILIES)
def test_what_is_stored_of_every_family_gives_the_logits_of_the_model(
    models: dict[str, str], family: str
) -> None:
    split, preprocessor = loaded(models[family])
    split.train_only({})
    examples = preprocessor.encode(rows_of(*sounds(0.1, 0.3, 0.2)))
    loader, runtime = ExamplesLoader(examples, torch.device("cpu")), Runtime("cpu", "fp32")
    whole = predict_logits(split.model, loader, runtime, 2)
    with frozen_features(split, [loader], runtime) as stored:
        assert stored is not None
        found = predict_logits(split.model, stored[0], runtime, 2)
    np.testing.assert_allclose(found, whole, atol=1e-5)


def test_only_models_that_need_it_are_kept_from_padding(models: dict[str, str]) -> None:
    told = {family: loaded(models[family])[1]._reader.alone for family in MAIN}
    assert told == {
        "audio-spectrogram-transformer": False, "wav2vec2": False, "hubert": True, "wavlm": True,
        "whisper": False,
    }  # fmt: skip


def test_lengths_are_the_places_that_the_model_makes(models: dict[str, str]) -> None:
    for family in MAIN:
        split, preprocessor = loaded(models[family])
        examples = preprocessor.encode(rows_of(*sounds(0.3, 0.21)))
        heard: list[Any] = []
        handle = split.base.register_forward_hook(lambda _, __, out, heard=heard: heard.append(out))
        for row in (0, 1):
            logits(split, examples, [row])
            assert heard[row].last_hidden_state.shape[1] == examples.lengths[row]
        handle.remove()


def test_long_sounds_are_cut_and_counted(models: dict[str, str]) -> None:
    split, preprocessor = loaded(models["wav2vec2"], max_seconds=0.25)
    long, short = sounds(0.4, 0.2)
    examples = preprocessor.encode(rows_of(long, short))
    assert examples.n_cut == 1
    assert examples.sizes.tolist() == [500, 400]
    (told,) = preprocessor.warnings(examples, "training rows")
    assert told.startswith("1 of 2 training rows (50%) are longer than 0.25 seconds")
    cut = preprocessor.encode(rows_of((long[0][:500], RATE)))
    assert logits(split, cut, [0]) == pytest.approx(logits(split, examples, [0]))


def test_a_model_of_fixed_length_says_how_much_it_takes(models: dict[str, str]) -> None:
    assert loaded(models["whisper"])[1]._reader.seconds == 1
    assert loaded(models["audio-spectrogram-transformer"])[1]._reader.seconds == pytest.approx(
        0.335
    )
    assert loaded(models["hubert"])[1]._reader.seconds == 30
    with pytest.raises(HeadstartError, match="--max-seconds of at most 1,"):
        loaded(models["whisper"], max_seconds=2.0)


def test_what_is_too_short_is_refused_together(models: dict[str, str]) -> None:
    for family in MAIN:
        preprocessor = loaded(models[family])[1]
        with pytest.raises(HeadstartError, match=r"2 too short: sound 1 \(0.005 s\), sound 3"):
            preprocessor.encode(rows_of(*sounds(0.005, 0.3, 0.01)))


def test_features_beyond_the_memory_are_computed_anew(
    models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    preprocessor = loaded(models["wav2vec2"])[1]
    rows = rows_of(*sounds(0.3, 0.21, 0.25))
    whole = preprocessor.encode(rows)
    monkeypatch.setattr(_extractor, "LARGEST_KEPT", sum(v.nbytes for v in whole.kept[0].values()))
    part = preprocessor.encode(rows)
    assert [each is None for each in part.kept] == [False, True, True]
    for name, values in whole.collate([0, 1, 2]).items():
        assert torch.equal(part.collate([0, 1, 2])[name], values)


def test_masks_longer_than_a_sound_are_switched_off(models: dict[str, str], tmp_path: Path) -> None:
    model = tiny_sound.save(tmp_path / "m", "wav2vec2", mask_time_length=50)
    split, preprocessor = loaded(model)
    told = preprocessor.warnings(preprocessor.encode(rows_of(*sounds(0.2))), "training rows")
    assert "SpecAugment" in told[0]
    assert split.model.config.mask_time_prob == 0
    split, preprocessor = loaded(models["wav2vec2"])
    assert preprocessor.warnings(preprocessor.encode(rows_of(*sounds(0.2))), "training rows") == []
    assert split.model.config.mask_time_prob == 0.2


@pytest.mark.parametrize("family", MAIN)
def test_pipeline_gives_what_predict_gives(
    models: dict[str, str], tones: str, tmp_path: Path, family: str
) -> None:
    result = fit(models[family], tones, tmp_path / "run", strategy="full")
    model = tmp_path / "run" / "model"
    suffix = MODEL_CLASSES["audio"].suffix
    (architecture,) = json.loads((model / "config.json").read_text())["architectures"]
    assert architecture.endswith((f"For{suffix}", "ForSequenceClassification"))
    rate = loaded(models[family])[1]._reader.rate
    given = [{"array": tiny_sound.tone(90 * i, 0.2 + 0.01 * i, rate), "sampling_rate": rate}
             for i in (1, 2, 3)]  # fmt: skip
    classify = pipeline("audio-classification", model=str(model), top_k=None)
    found = hs.load(str(tmp_path / "run")).predict(given)
    for sound, prediction in zip(given, found, strict=True):
        theirs = {each["label"]: each["score"] for each in classify(dict(sound))}
        assert theirs == pytest.approx(prediction.probabilities, abs=1e-5)
    assert result.task["spec"]["audio"] == "audio"


def test_wav2vec2s_normed_weights_come_back_bit_for_bit(
    models: dict[str, str], tones: str, tmp_path: Path
) -> None:
    before = load_classifier(models["wav2vec2"], TARGET)
    names = [name for name in before.backbone if "parametrizations" in name]
    assert names
    line = "bitfit(steps=2) > head(steps=1)"
    fit(models["wav2vec2"], tones, tmp_path / "a", strategy=line, epochs=None)
    after, _ = load_saved(str(tmp_path / "a"))
    assert after.fingerprint() == before.fingerprint()
    fit(models["wav2vec2"], tones, tmp_path / "b", strategy="full")
    changed, _ = load_saved(str(tmp_path / "b"))  # read back and compared while it was saved
    assert any(not torch.equal(changed.backbone[n], before.backbone[n]) for n in names)


def test_masks_are_drawn_by_the_runs_seed(
    models: dict[str, str], tones: str, tmp_path: Path
) -> None:
    curves = []
    for number, seed in enumerate((0, 0, 1)):
        np.random.seed(number)
        result = fit(models["wav2vec2"], tones, tmp_path / str(number), strategy="full", seed=seed)
        curves.append([point.train_loss for point in result.stages[0].curve])
        state = np.random.get_state()[1]
        np.random.seed(number)
        assert (state == np.random.get_state()[1]).all()
    assert curves[0] == curves[1] != curves[2]
    plain = tiny_sound.save(tmp_path / "m", "wav2vec2", mask_time_prob=0.0)
    result = fit(plain, tones, tmp_path / "plain", strategy="full")
    assert [point.train_loss for point in result.stages[0].curve] != curves[0]


def test_an_interrupted_run_draws_the_same_masks_when_it_goes_on(
    models: dict[str, str], tones: str, tmp_path: Path
) -> None:
    whole = fit(models["wav2vec2"], tones, tmp_path / "whole", strategy="full", epochs=2)

    class Stops(hs.Callback):
        def step(self, step: int, loss: float) -> None:
            if step == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(
            models["wav2vec2"], tones, tmp_path / "run", strategy="full", epochs=2,
            checkpoint_steps=1, callback=Stops(),
        )  # fmt: skip
    again = hs.fit(out=tmp_path / "run", resume=True)
    assert again.scores == whole.scores
    curves = [[point.train_loss for point in run.stages[0].curve] for run in (whole, again)]
    assert curves[0] == curves[1]


@pytest.mark.parametrize("family", MAIN)
def test_every_tuner_trains_or_is_refused_by_name(models: dict[str, str], family: str) -> None:
    split = load_classifier(models[family], TARGET)
    before, refused = split.fingerprint(), set()
    for name in TUNERS:
        settings = {"peft": "(type=loha)", "oft": "(block=8)"}.get(name, "")
        stage = read_strategy(f"{name}{settings} > full").stages[0]
        tuner = bind(stage)
        try:
            trained = tuner.attach(split)
        except HeadstartError as error:
            assert type(split.base).__name__ in str(error), name
            refused.add(name)
            continue
        assert trained or name == "head"
        if name not in ("full",):
            tuner.detach(split)
            assert split.fingerprint() == before, name
    assert "prefix" in refused
    assert not refused & {"full", "head", "bitfit", "lora", "adapter", "histogram", "hydra",
                          "layernorm"}  # fmt: skip


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_heads_of_our_own_leave_padding_out(
    models: dict[str, str], tones: str, tmp_path: Path, pooling: str
) -> None:
    own = {"head_type": "mlp", "pooling": pooling, "strategy": "full"}
    fit(models["wav2vec2"], tones, tmp_path / "run", **own)
    model = hs.load(str(tmp_path / "run"))
    short, long = sounds(0.15, 0.4)
    together = model.predict([short, long])
    assert together[0].probabilities == pytest.approx(
        model.predict(short)[0].probabilities, abs=1e-5
    )


def test_a_head_of_our_own_reads_the_mean_if_nothing_is_said(
    models: dict[str, str], tones: str
) -> None:
    told = dict(hs.plan(model=models["whisper"], train=tones, audio="audio",
                        head_type="linear").facts)  # fmt: skip
    assert "mean" in told["head input"]
    told = dict(hs.plan(model=models["whisper"], train=tones, audio="audio").facts)
    assert told["head"] == "native"
    assert told["head input"] == "what WhisperForAudioClassification pools of the sound's places"
    assert told["seconds a row"].endswith("cut at 1")
    assert told["sound"] == "2 kHz in 16 rows, resampled to 16 kHz"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"head_init": "labels"}, "a model that reads text, for --head-init labels"),
        ({"max_length": 64}, "Drop --max-length. Use --max-seconds."),
        ({"long_texts": "windows"}, "for --long-texts windows"),
        ({"audio": None, "text": "audio"}, "Name the column that it reads by --audio"),
        ({"head_type": "span"}, "target spans"),
        ({"strategy": "full + r3f"}, "embeddings"),
    ],
)
def test_what_has_no_meaning_for_sound_is_refused(
    models: dict[str, str], tones: str, settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(HeadstartError, match=told):
        hs.plan(**{"model": models["wav2vec2"], "train": tones, "audio": "audio"} | settings)


def test_a_model_of_texts_is_refused(tones: str, tmp_path: Path) -> None:
    import tiny

    with pytest.raises(HeadstartError, match="AutoModelForAudioClassification, which reads"):
        hs.plan(model=str(tiny.save_pretrained("bert", tmp_path / "m")), train=tones, audio="audio")


def test_a_model_without_extractor_is_refused(
    models: dict[str, str], tones: str, tmp_path: Path
) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    for file in Path(models["hubert"]).iterdir():
        if file.name != "preprocessor_config.json":
            (folder / file.name).write_bytes(file.read_bytes())
    with pytest.raises(HeadstartError, match=r"a feature extractor .*preprocessor_config\.json"):
        hs.plan(model=str(folder), train=tones, audio="audio")
    (folder / "preprocessor_config.json").write_bytes(
        Path(models["whisper"], "preprocessor_config.json").read_bytes()
    )
    with pytest.raises(HeadstartError, match="a feature extractor that gives what HubertModel"):
        hs.plan(model=str(folder), train=tones, audio="audio")


@pytest.mark.parametrize("target", ["classes", "number", "multilabel"])
def test_every_target_trains_on_sound(models: dict[str, str], tmp_path: Path, target: str) -> None:
    cells = sounds(*[0.2 + 0.01 * (i % 3) for i in range(12)])
    answers = {
        "classes": ["a", "b"] * 6, "number": [0.5 * i for i in range(12)],
        "multilabel": [["a"], ["b"], ["a", "b"], []] * 3,
    }  # fmt: skip
    frame = pd.DataFrame({"sound": pd.Series(cells, dtype=object), "label": answers[target]})
    result = hs.fit(
        model=models["audio-spectrogram-transformer"], train=frame, validation=frame,
        audio="sound", target=target, epochs=1, out=tmp_path / "run", strategy=LINE,
        batch_size=4,
    )  # fmt: skip
    assert result.task["spec"]["target"] == target
    model = hs.load(result)
    assert len(model.predict(cells[:3])) == 3
    assert model.predict_frame(frame.drop(columns="label"))["prediction"].notna().all()
    assert np.isfinite(model.evaluate_frame(frame)["loss"])


def test_the_command_line_trains_and_predicts(
    models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.cli import main

    monkeypatch.chdir(tmp_path)
    tiny_sound.folder_of_tones(tmp_path / "data" / "clips")
    files = [(f"clips/{name}/{i}.wav", name) for name in ("low", "high") for i in range(8)]
    table = pd.DataFrame(files, columns=["file", "pitch"])
    table.to_csv("data/train.csv", index=False)

    def headstart(*words: str) -> int:
        return main(list(words))

    assert not headstart(
        "fit", "--model", models["whisper"], "--train", "data/train.csv", "--audio", "file",
        "--label", "pitch", "--out", "run", "--epochs", "1", "--strategy", LINE,
    )  # fmt: skip
    table[["file"]].to_csv("data/new.csv", index=False)
    assert not headstart("predict", "run", "--data", "data/new.csv", "--out", "found.csv")
    found = pd.read_csv("found.csv")
    assert list(found.columns) == ["file", "prediction", "p_high", "p_low"]
    assert found["file"].tolist() == table["file"].tolist()
    assert not headstart("evaluate", "run", "--data", "data/train.csv")
    assert 'pipeline("audio-classification"' in (tmp_path / "run/model/README.md").read_text()
