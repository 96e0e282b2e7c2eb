"""The heads of our own, against the formulas of the paper computed by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

import tiny
from headstart.models.backbone import SplitModel
from headstart.models.heads import EncoderClassifier, HeadSpec, PooledHead


def states(rows: int = 6, length: int = 5, width: int = 8) -> torch.Tensor:
    return torch.randn(rows, length, width, generator=torch.Generator().manual_seed(0))


def head(spec: HeadSpec, width: int = 8) -> PooledHead:
    """Build a head with every weight and bias far from its small initial value."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        built = PooledHead(width, spec).eval()
        for parameter in built.parameters():
            parameter.data.normal_()
    return built


def test_the_linear_head_is_a_linear_map_of_the_first_token() -> None:
    built = head(HeadSpec.linear(3))
    expected = states()[:, 0] @ built.out.weight.T + built.out.bias
    torch.testing.assert_close(built(states()), expected)


def test_the_papers_head_has_one_hidden_layer_with_relu() -> None:
    built = head(HeadSpec.mlp(3))
    assert built.dense is not None
    hidden = (states()[:, 0] @ built.dense.weight.T + built.dense.bias).clamp(min=0)
    assert hidden.shape == (6, 2048)
    expected = hidden @ built.out.weight.T + built.out.bias
    torch.testing.assert_close(built(states()), expected)


def test_two_classes_of_the_paper_share_one_logit_with_binary_cross_entropy() -> None:
    built = head(HeadSpec.mlp(2))
    assert built.out.out_features == 1
    logits = built(states())
    assert logits.shape == (6, 2)
    assert torch.equal(logits[:, 0], torch.zeros(6))
    z, labels = logits[:, 1], torch.tensor([0, 1, 1, 0, 1, 0])
    torch.testing.assert_close(logits.softmax(-1)[:, 1], torch.sigmoid(z))
    torch.testing.assert_close(
        functional.cross_entropy(logits, labels, reduction="none"),
        functional.binary_cross_entropy_with_logits(z, labels.float(), reduction="none"),
    )
    grads = [
        torch.autograd.grad(loss, built.out.bias, retain_graph=True)[0]
        for loss in (
            functional.cross_entropy(logits, labels),
            functional.binary_cross_entropy_with_logits(z, labels.float()),
        )
    ]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize(
    ("spec", "one", "outputs"),
    [
        (HeadSpec.mlp(2), True, 1), (HeadSpec.mlp(3), False, 3), (HeadSpec.mlp(1), False, 1),
        (HeadSpec.mlp(1, apart=True), False, 1), (HeadSpec.mlp(2, apart=True), False, 2),
        (HeadSpec.linear(2), False, 2),
    ],
)  # fmt: skip
def test_only_two_classes_share_a_logit(spec: HeadSpec, one: bool, outputs: int) -> None:
    assert (spec.one_logit, spec.outputs) == (one, outputs)


@pytest.mark.parametrize(("spec", "std"), [(HeadSpec.linear(40), 0.02), (HeadSpec.mlp(40), 0.005)])
def test_initial_weights_are_small_and_biases_zero(spec: HeadSpec, std: float) -> None:
    torch.manual_seed(0)
    built = PooledHead(384, spec)
    for layer in filter(None, (built.dense, built.out)):
        weight = layer.weight.detach()
        assert abs(float(weight.std()) / std - 1) < 0.03
        assert abs(float(weight.mean())) < std / 20
        assert not layer.bias.any()


def test_two_targets_are_read_as_in_the_paper() -> None:
    masks = torch.zeros(6, 2, 5)
    masks[:, 0, 1:3] = 1
    masks[:, 1, 4] = 1
    built = head(HeadSpec.mlp(3, spans=2))
    assert built.dense is not None
    assert built.dense.in_features == 5 * 8
    first, second = states()[:, 1] + states()[:, 2], states()[:, 4]
    vector = torch.cat(
        (states()[:, 0], first, second, (first - second).abs(), first * second), dim=-1
    )
    expected = built.out(built.dense(vector).relu())
    torch.testing.assert_close(built(states(), masks), expected)


@pytest.mark.parametrize("spans", [1, 3])
def test_other_numbers_of_targets_follow_the_first_token(spans: int) -> None:
    masks = torch.zeros(6, spans, 5)
    for span in range(spans):
        masks[:, span, span + 1] = 1
    built = head(HeadSpec.linear(2, spans=spans))
    vector = states()[:, : spans + 1].flatten(1)
    torch.testing.assert_close(built(states(), masks), built.out(vector))


def test_dropout_stands_in_front_of_the_first_map() -> None:
    built = head(HeadSpec.linear(2, dropout=0.5))
    torch.manual_seed(0)
    noisy = built.train()(states())
    torch.manual_seed(0)
    dropped = functional.dropout(states()[:, 0], 0.5)
    torch.testing.assert_close(noisy, built.out(dropped))
    assert torch.equal(built.eval()(states()), built.out(states()[:, 0]))


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_classifier_gives_one_row_of_logits_per_input(family: str) -> None:
    native: Any = tiny.build(family)
    backbone = getattr(native, native.base_model_prefix)
    model = EncoderClassifier(backbone, HeadSpec.linear(3)).eval()
    batch = tiny.batch()
    logits = model(**batch).logits
    assert logits.shape == (4, 3)
    torch.testing.assert_close(logits, model.head(backbone(**batch).last_hidden_state))
    assert SplitModel(model).head.keys() == {"head.out.weight", "head.out.bias"}


def test_multiple_choice_scores_each_candidate_by_itself() -> None:
    native: Any = tiny.build("bert")
    model = EncoderClassifier(native.bert, HeadSpec.mlp(1, apart=True)).eval()
    for parameter in model.head.parameters():
        parameter.data.normal_(std=0.1)
    batch = tiny.batch(choices=3)
    logits = model(**batch).logits
    assert logits.shape == (4, 3)
    for choice in range(3):
        alone = model(**{name: tensor[:, choice] for name, tensor in batch.items()}).logits
        torch.testing.assert_close(logits[:, choice], alone[:, 0], atol=1e-5, rtol=1e-5)


def test_a_form_is_plain_data() -> None:
    for spec in (HeadSpec.linear(3, spans=1), HeadSpec.mlp(2)):
        assert HeadSpec(**spec.to_dict()) == spec
