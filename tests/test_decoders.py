"""Decoders as classifiers: a row's logits are its own, whatever trains, however it is padded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, pipeline

import headstart as hs
import tiny
import tiny_families
from alike import first
from headstart.data.rows import Rows
from headstart.data.tokens.encode import encode
from headstart.errors import ConfigError, ModelError
from headstart.inputs.text.padding import settle_padding
from headstart.models.backbone import SplitModel
from headstart.models.head_choice import Target
from headstart.tuners import TUNERS
from tiny_runs import frame
from tiny_tuners import make

FAMILIES = ("llama", "qwen3", "gemma", "gpt2")
LINES = (*TUNERS, "bitfit(add=true)")
TEXTS = ("a b", "a good film with no plot", "c d e f", "x")
REFUSED = {
    *((name, f) for name in ("adapter", "histogram", "hydra", "ia3", "prefix") for f in FAMILIES),
    *(("bitfit", family) for family in ("llama", "qwen3", "gemma")),
    *((name, "gpt2") for name in ("beft", "oft", "peft")),
}
"""Tuners that do not claim a family. Everything else has to work."""


def built(family: str) -> SplitModel:
    config = tiny_families.config_of(family, pad_token_id=tiny.PAD)
    torch.manual_seed(0)
    return SplitModel(AutoModelForSequenceClassification.from_config(config).eval())


@torch.no_grad()
def logits(model: Any, tokenizer: Any, texts: tuple[str, ...], *, left: bool = False) -> Any:
    encoded = encode(Rows([((text, None),) for text in texts]), tokenizer, 64)
    encoded = replace(encoded, padding=replace(encoded.padding, left=left))
    return model(**encoded.collate(np.arange(len(texts)))).logits


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("line", LINES)
def test_every_tuner_trains_it_or_says_why_not(line: str, family: str) -> None:
    split, tokenizer = built(family), tiny.tokenizer("roberta")
    before = {name: tensor.clone() for name, tensor in split.model.state_dict().items()}
    tuner = make(line)
    if (line, family) in REFUSED:
        with pytest.raises((ModelError, ConfigError)) as error:
            tuner.attach(split, reversible=True)
        assert type(split.base).__name__ in f"{error.value.expected} {error.value.found}"
        return
    tuned = tuner.attach(split, reversible=True)
    split.train_only(tuned)
    optimizer = torch.optim.AdamW([*split.head.values(), *tuned.values()], lr=0.01)
    rows = encode(Rows([((t, None),) for t in TEXTS], np.array([0, 1, 0, 1])), tokenizer, 64)
    for _ in range(2):
        optimizer.zero_grad()
        batch = rows.collate(np.arange(4))
        found = split.model(**{n: t for n, t in batch.items() if n != "labels"}).logits
        nn.functional.cross_entropy(found, batch["labels"]).backward()
        optimizer.step()
    together = logits(split.model, tokenizer, TEXTS)
    alone = torch.cat([logits(split.model, tokenizer, (text,)) for text in TEXTS])
    assert torch.allclose(together, alone, atol=1e-5)
    if family != "gpt2":  # whose positions are counted from the batch's first place
        assert torch.allclose(together, logits(split.model, tokenizer, TEXTS, left=True), atol=1e-4)
    try:
        tuner.require_merge(split)
    except ConfigError as error:
        assert type(split.base).__name__ in error.found or tuner.no_merge
    else:
        tuner.merge(split)
        assert torch.allclose(logits(split.model, tokenizer, TEXTS), together, atol=1e-4)
        return
    tuner.detach(split)
    assert all(torch.equal(split.model.state_dict()[n], before[n]) for n in split.backbone)


def test_the_refusals_are_few() -> None:
    assert {name for name, _ in REFUSED} <= set(TUNERS)
    assert len(REFUSED) == 26
    assert len(LINES) * len(FAMILIES) - len(REFUSED) >= 50


@pytest.mark.slow
@pytest.mark.parametrize("family", first(FAMILIES, every=2))
def test_a_tokenizer_that_pads_on_the_left_gives_the_same_run(family: str, tmp_path: Path) -> None:
    folder = tiny_families.save_pretrained(family, tmp_path / "right")
    other = tiny_families.save_pretrained(family, tmp_path / "left")
    tokenizer = AutoTokenizer.from_pretrained(other)
    tokenizer.padding_side = "left"
    tokenizer.save_pretrained(other)
    results = [
        hs.fit(
            model=str(model), train=frame(16), validation=frame(16, 1), text="sentence", epochs=1,
            batch_size=8, device="cpu", precision="fp32", out=str(tmp_path / f"run-{model.name}"),
        )
        for model in (folder, other)
    ]  # fmt: skip
    assert results[0].scores == results[1].scores
    model = tmp_path / "run-left" / "model"
    assert AutoTokenizer.from_pretrained(model).padding_side == "right"
    assert AutoConfig.from_pretrained(model).pad_token_id == tiny.PAD
    plain = AutoModelForSequenceClassification.from_pretrained(model)
    batch = AutoTokenizer.from_pretrained(model)(list(TEXTS), padding=True, return_tensors="pt")
    with torch.no_grad():
        theirs = plain(**batch).logits.softmax(-1)
    ours = [
        list(found.probabilities.values()) for found in hs.load(results[1]).predict(list(TEXTS))
    ]
    assert np.allclose(ours, theirs.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("family", "side"),
    [("gpt2", "right"), ("bert", "right"), ("llama", "right"), ("xlnet", "left")],
)
def test_rows_are_padded_on_the_right_where_that_changes_no_logits(family: str, side: str) -> None:
    split, tokenizer = built(family), tiny.tokenizer("roberta")
    tokenizer.padding_side = "left"
    split.model.train()
    settle_padding(split, tokenizer, Target(("a", "b")))
    assert tokenizer.padding_side == side
    assert split.model.training


def test_a_decoder_without_a_padding_token_is_given_one() -> None:
    split, tokenizer = built("gpt2"), tiny.tokenizer("roberta")
    split.model.config.pad_token_id = None  # type: ignore[union-attr]
    settle_padding(split, tokenizer, Target(("a", "b")))
    assert logits(split.model, tokenizer, TEXTS).shape == (4, 2)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_tokenizer_without_a_padding_token_is_saved_with_one(family: str, tmp_path: Path) -> None:
    folder = tiny_families.save_pretrained(family, tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token, tokenizer.eos_token = None, tokenizer.convert_ids_to_tokens(tiny.PAD + 1)
    tokenizer.save_pretrained(folder)
    result = hs.fit(
        model=str(folder), train=frame(16), validation=frame(8, 1), text="sentence", device="cpu",
        strategy="full(steps=1)", precision="fp32", out=str(tmp_path / "run"),
    )  # fmt: skip
    model = str(tmp_path / "run" / "model")
    assert AutoTokenizer.from_pretrained(model).pad_token == tokenizer.eos_token
    theirs = pipeline("text-classification", model=model, device="cpu")(list(TEXTS), batch_size=4)
    ours = hs.load(result).predict(list(TEXTS))
    assert [t["label"] for t in theirs] == [own.label for own in ours]
    scores = [own.probabilities[own.label] for own in ours]
    assert np.allclose([t["score"] for t in theirs], scores, atol=1e-5)
