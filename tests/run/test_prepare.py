"""What a run trains with fits together: the padding of the rows is the model's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoConfig, GPT2Config, GPT2Model

import headstart as hs
import tiny
from tiny_runs import frame, inputs


def test_a_decoder_reads_past_a_padding_token_of_number_0(tmp_path: Path) -> None:
    settings = GPT2Config(
        vocab_size=tiny.VOCABULARY, n_positions=64, n_embd=32, n_layer=2, n_head=4, pad_token_id=2
    )
    GPT2Model(settings).save_pretrained(tmp_path / "gpt2")
    tokenizer = tiny.tokenizer()
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(0)
    tokenizer.save_pretrained(tmp_path / "gpt2")
    hs.fit(
        **inputs(tmp_path) | {"model": str(tmp_path / "gpt2")},
        strategy="full(steps=2)",
        out=tmp_path / "run",
    )
    assert AutoConfig.from_pretrained(tmp_path / "run" / "model").pad_token_id == 0
    classifier = hs.load(tmp_path / "run")
    texts = frame(12, 3)["sentence"].tolist()
    together = [p.probabilities["good"] for p in classifier.predict(texts)]
    alone = [classifier.predict(text)[0].probabilities["good"] for text in texts]
    assert together == pytest.approx(alone, abs=1e-5)
