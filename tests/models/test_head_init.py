"""Where a head's last map starts, against the formulas computed by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

import tiny
from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.models.checkpoints.loading import load_classifier
from headstart.models.head_choice import Target
from headstart.models.head_init import initialise_head, label_texts

THREE = Target(("good", "not_good", "very bad"))
TWO = Target(("bad", "good"))
KINDS = ("native", "linear", "mlp")
Make = Callable[..., Path]


def started(
    checkpoint: Path, init: str, target: Target = THREE, family: str = "bert", **more: Any
) -> SplitModel:
    split = load_classifier(str(checkpoint), target, seed=3, **more)
    initialise_head(split, init, target, tiny.tokenizer(family))
    split.model.eval()
    return split


@pytest.mark.parametrize("target", [TWO, THREE])
@pytest.mark.parametrize("kind", KINDS)
def test_zero_gives_every_class_the_same_probability(
    checkpoint: Make, kind: str, target: Target
) -> None:
    split = started(checkpoint(), "zero", target, head=kind)
    probabilities = split.model(**tiny.batch()).logits.softmax(-1)
    torch.testing.assert_close(probabilities, torch.full((4, n := len(target.labels)), 1 / n))


def test_normal_leaves_the_head_as_drawn(checkpoint: Make) -> None:
    drawn = load_classifier(str(checkpoint()), THREE, seed=3).head_state()
    kept = started(checkpoint(), "normal").head_state()
    assert all(torch.equal(drawn[name], kept[name]) for name in drawn)


@pytest.mark.parametrize("pooling", ["first", "mean", "attention"])
def test_a_linear_head_from_names_scores_by_cosine(checkpoint: Make, pooling: str) -> None:
    drawn: Any = load_classifier(str(checkpoint()), THREE, head="linear", pooling=pooling, seed=3)
    norm = drawn.model.head.out.weight.norm(dim=1).mean()
    split: Any = started(checkpoint(), "labels", head="linear", pooling=pooling)

    def vectors(**inputs: torch.Tensor) -> torch.Tensor:
        states = split.base(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1).float()
        # The query starts at zero, where attention is the mean.
        return states[:, 0] if pooling == "first" else (states * mask).sum(1) / mask.sum(1)

    with torch.no_grad():
        names = [
            vectors(**tiny.tokenizer()(name, return_tensors="pt"))[0]
            for name in ("good", "not good", "very bad")
        ]
        texts = vectors(**tiny.batch())
        cosines = torch.stack([functional.cosine_similarity(texts, name) for name in names], 1)
        expected = norm * texts.norm(dim=1, keepdim=True) * cosines
        logits = split.model(**tiny.batch()).logits
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "modernbert"])
def test_a_name_goes_through_the_heads_own_hidden_layers(
    checkpoint: Make, family: str, kind: str
) -> None:
    split = started(checkpoint(family), "labels", family=family, head=kind)
    names = tiny.tokenizer(family)(label_texts(THREE.labels), padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = split.model(**names).logits
    # Of all unit vectors, a name is nearest to its own.
    assert logits.argmax(1).tolist() == [0, 1, 2]


def test_a_shared_logit_is_the_difference_of_both_names(checkpoint: Make) -> None:
    one: Any = started(checkpoint(), "labels", TWO, head="mlp")
    names = tiny.tokenizer()(["bad", "good"], padding=True, return_tensors="pt")
    with torch.no_grad():
        states = one.base(**names).last_hidden_state[:, 0]
        hidden = functional.normalize(one.model.head.dense(states).relu())
    weight = one.model.head.out.weight[0]
    difference = hidden[1] - hidden[0]
    torch.testing.assert_close(
        functional.cosine_similarity(weight, difference, 0), torch.tensor(1.0)
    )
    assert one.model(**names).logits.argmax(1).tolist() == [0, 1]


def test_the_same_seed_gives_the_same_head(checkpoint: Make) -> None:
    first, second = (started(checkpoint(), "labels", head="mlp").head_state() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_dropout_stays_off_and_every_mode_as_it_was(checkpoint: Make) -> None:
    split = load_classifier(str(checkpoint()), THREE, seed=3, head="linear", dropout=0.9)
    split.base.eval()
    modes = [module.training for module in split.model.modules()]
    initialise_head(split, "labels", THREE, tiny.tokenizer())
    assert [module.training for module in split.model.modules()] == modes
    plain = started(checkpoint(), "labels", head="linear")
    assert torch.equal(split.head_state()["head.out.weight"], plain.head_state()["head.out.weight"])


@pytest.mark.parametrize(
    ("target", "head", "found"),
    [
        (Target(()), "linear", "a number to predict"),
        (Target(("a", "b"), "choice"), "linear", "multiple choice"),
        (Target(("no", "yes"), spans=2), "span", "target spans"),
        (Target(("0", "1")), "linear", "'0', '1'"),
        (Target(("good", "LABEL_1")), "native", "'LABEL_1', which say nothing"),
        (Target(("good", "-1.5")), "native", "'-1.5'"),
        (Target(("good", "Good")), "native", "'good' and 'Good' with the same vector"),
    ],
)
def test_names_that_say_nothing_are_refused(
    checkpoint: Make, target: Target, head: str, found: str
) -> None:
    split = load_classifier(str(checkpoint()), target, head=head, seed=3)
    before = split.head_state()
    with pytest.raises(ModelError) as error:
        initialise_head(split, "labels", target, tiny.tokenizer())
    assert found in error.value.found
    assert "--head-init normal or zero" in error.value.fix
    assert all(torch.equal(before[name], t) for name, t in split.head_state().items())


def test_a_decoder_has_no_vector_of_a_name(gpt2: Path) -> None:
    split = load_classifier(str(gpt2), THREE)
    with pytest.raises(ModelError, match="reads one vector of each text"):
        initialise_head(split, "labels", THREE, tiny.tokenizer())
    initialise_head(split, "zero", THREE, tiny.tokenizer())
    assert not split.model(**tiny.batch(n=1)).logits.any()
