"""config.json: broken ones are told as such, and models that cannot be trained are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import (
    AutoConfig,
    BartConfig,
    LlamaConfig,
    T5Config,
    ViTConfig,
    Wav2Vec2Config,
    XLNetConfig,
)

import tiny
from headstart.errors import ModelError
from headstart.models.checkpoints.loading import load_classifier, load_saved
from headstart.models.checkpoints.model_config import is_decoder, load_config, require_model
from headstart.models.head_choice import Target

TWO = Target(("no", "yes"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{\n "a": 1\n "b": 2}', "line 3 column 2"),
        (b"", "line 1 column 1"),
        (b"[]", "no JSON object"),
        (b"\xff\xfe{}", "utf-8"),
    ],
)
def test_a_broken_config_is_told_with_its_place(content: bytes, told: str, folder: Path) -> None:
    path = folder / "config.json"
    path.write_bytes(content)
    with pytest.raises(ModelError) as error:
        load_config(str(folder), trust_remote_code=False)
    assert error.value.expected == "a config.json that is JSON"
    assert str(path) in error.value.found
    assert told in error.value.found


@pytest.mark.parametrize(
    ("config", "told", "head"),
    [
        (ViTConfig(), "the family vit, which reads no text", "native"),
        (ViTConfig(), "the family vit, which reads no text", "linear"),
        (Wav2Vec2Config(), "the family wav2vec2, which reads no text", "native"),
        (Wav2Vec2Config(), "the family wav2vec2, which reads no text", "linear"),
        # With a head of headstart's own the encoder alone trains.
        (T5Config(), "the family t5, which has an encoder and a decoder", "native"),
        (BartConfig(), "the family bart, which has an encoder and a decoder", "native"),
    ],
)
def test_what_is_no_text_encoder_is_refused_as_such(
    config: Any, told: str, head: str, tmp_path: Path
) -> None:
    config.save_pretrained(tmp_path)
    loads = [lambda: load_classifier(str(tmp_path), TWO, head=head)]
    if config.model_type not in ("vit", "wav2vec2"):  # which are read as what they are
        loads.append(lambda: load_saved(str(tmp_path)))
    for load in loads:
        with pytest.raises(ModelError) as error:
            load()
        assert error.value.expected == "a text encoder, such as BERT or RoBERTa"
        assert told in error.value.found


def test_a_head_on_the_first_token_is_refused_on_a_decoder(gpt2: Path) -> None:
    assert load_classifier(str(gpt2), TWO).model(**tiny.batch(n=1)).logits.shape == (1, 2)
    with pytest.raises(ModelError, match="sees nothing of the text") as error:
        load_classifier(str(gpt2), TWO, head="linear")
    assert "--head-type native" in error.value.fix


@pytest.mark.parametrize("head", ["native", "linear", "mlp"])
@pytest.mark.parametrize("target", [Target(("a", "b"), "choice"), Target(("a", "b"), spans=2)])
def test_what_no_head_serves_on_a_decoder_is_not_sent_from_one_to_another(
    gpt2: Path, head: str, target: Target
) -> None:
    with pytest.raises(ModelError) as error:
        load_classifier(str(gpt2), target, head=head)
    assert error.value.fix.startswith("Choose an encoder")
    assert "--head-type" not in error.value.fix


def test_families_are_told_apart() -> None:
    assert is_decoder(LlamaConfig())
    assert is_decoder(XLNetConfig())
    for family in tiny.FAMILIES:
        config = AutoConfig.for_model(family)
        assert not is_decoder(config)
        require_model(config, "x", "sequence")
        assert is_decoder(AutoConfig.for_model(family, is_decoder=True))
