"""The prefix against attention computed by hand, for every family and attention function."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForSequenceClassification, GPT2Config
from transformers.models.modernbert import modeling_modernbert

import tiny
from headstart.errors import ModelError
from headstart.models.backbone import SplitModel
from headstart.tuners._prefix_attention import _FAMILIES
from headstart.tuners.prefix import Prefix

EAGER_ONLY = ("mpnet", "deberta-v2")
CASES = [
    (family, attention)
    for family in tiny.FAMILIES
    for attention in ("eager", "sdpa")
    if attention == "eager" or family not in EAGER_ONLY
]
BATCH = tiny.batch(n=3, length=14)


class Call(NamedTuple):
    """One call of a self-attention module."""

    module: Any
    arguments: dict[str, Any]
    output: torch.Tensor


def prefixed(
    family: str, attention: str = "eager", tokens: int = 5, std: float = 1.0, **settings: Any
) -> tuple[SplitModel, Prefix, dict[str, torch.nn.Parameter]]:
    split = SplitModel(tiny.build(family, **settings))
    split.model.set_attn_implementation(attention)
    torch.manual_seed(0)
    tuner = Prefix(tokens=tokens, init_std=std)
    return split, tuner, tuner.attach(split)


def calls(split: SplitModel, batch: dict[str, torch.Tensor]) -> list[Call]:
    """Run the model and return what went into and came out of every prefixed attention."""
    seen: list[Call] = []

    def note(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        names = ("hidden_states", "attention_mask", "position_bias")
        seen.append(Call(module, dict(zip(names, args, strict=False)) | kwargs, output[0]))

    modules = [m for m in split.model.modules() if "prefix_keys" in m._parameters]
    hooks = [m.register_forward_hook(note, with_kwargs=True) for m in modules]
    split.model(**batch)
    for hook in hooks:
        hook.remove()
    return seen


def projections(family: str, call: Call) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries, keys and values of a call, each (b, heads, L, width)."""
    module, states = call.module, call.arguments["hidden_states"]
    if family == "modernbert":
        parts = module.Wqkv(states).chunk(3, dim=-1)
    else:
        names = {"distilbert": "q_lin k_lin v_lin", "mpnet": "q k v"}
        names["deberta-v2"] = "query_proj key_proj value_proj"
        linears = names.get(family, "query key value").split()
        parts = tuple(getattr(module, name)(states) for name in linears)
    query, key, value = (p.unflatten(-1, (4, 8)).transpose(1, 2) for p in parts)
    if family == "modernbert":
        cos_sin = call.arguments["position_embeddings"]
        query, key = modeling_modernbert.apply_rotary_pos_emb(query, key, *cos_sin)
    return query, key, value


def position_terms(family: str, call: Call, query: torch.Tensor, key: torch.Tensor) -> Any:
    """What a family adds to the scores between tokens."""
    if family == "mpnet":
        return call.arguments["position_bias"]
    if family == "deberta-v2":
        flat, relative = [x.flatten(0, 1) for x in (query, key)], call.arguments["rel_embeddings"]
        bias = call.module.disentangled_attention_bias(
            *flat, call.arguments["relative_pos"], relative, 3
        )
        return bias.view(*query.shape[:3], -1)
    return 0.0


def visible(call: Call, mask: torch.Tensor) -> torch.Tensor:
    """Which token sees which: real tokens, and in sliding layers near ones; (b, 1, L, L)."""
    length = mask.shape[1]
    seen = mask.bool()[:, None, None, :].expand(-1, 1, length, -1)
    if getattr(call.module, "sliding_window", None):
        distance = (torch.arange(length)[:, None] - torch.arange(length)).abs()
        seen = seen & (distance <= 4)
    return seen


def by_hand(family: str, call: Call, mask: torch.Tensor) -> torch.Tensor:
    """Attention over prefix and tokens, in two separate sums."""
    module = call.module
    query, key, value = projections(family, call)
    scale = math.sqrt(8 * (3 if family == "deberta-v2" else 1))
    tokens = query @ key.transpose(-1, -2) / scale + position_terms(family, call, query, key)
    tokens = tokens.exp() * visible(call, mask)
    prefix = (query @ module.prefix_keys.transpose(-1, -2) / scale).exp()
    total = tokens.sum(-1, keepdim=True) + prefix.sum(-1, keepdim=True)
    output = ((tokens @ value + prefix @ module.prefix_values) / total).transpose(1, 2).flatten(2)
    after = {"distilbert": "out_lin", "mpnet": "o", "modernbert": "Wo", "albert": "dense"}
    if family in after:
        output = getattr(module, after[family])(output)
    if family == "albert":
        output = module.LayerNorm(call.arguments["hidden_states"] + output)
    return output


def test_every_supported_family_is_tried() -> None:
    pictures = {"vit", "deit", "dinov2"}  # tried in tests/inputs
    assert set(tiny.FAMILIES) | pictures == set(_FAMILIES)
    assert len(CASES) == 2 * len(tiny.FAMILIES) - len(EAGER_ONLY)


@torch.no_grad()
@pytest.mark.parametrize(("family", "attention"), CASES)
def test_it_equals_attention_by_hand(family: str, attention: str) -> None:
    split, _, chosen = prefixed(family, attention)
    seen = calls(split, BATCH)
    layers = 3 if family == "modernbert" else 2
    assert len(seen) == layers
    assert len(chosen) == 2 * (1 if family == "albert" else layers)
    real = BATCH["attention_mask"].bool()
    for call in seen:
        wanted = by_hand(family, call, BATCH["attention_mask"])
        torch.testing.assert_close(call.output[real], wanted[real], atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_some_layers_of_the_tiny_modernbert_slide() -> None:
    split, _, _ = prefixed("modernbert")
    windows = [call.module.sliding_window for call in calls(split, BATCH)]
    assert windows == [None, 5, 5]


@torch.no_grad()
@pytest.mark.parametrize(("family", "attention"), CASES)
def test_padding_changes_nothing(family: str, attention: str) -> None:
    split, _, _ = prefixed(family, attention)
    padded = split.model(**BATCH).logits
    length = int(BATCH["attention_mask"][1].sum())
    alone = {name: tensor[1:2, :length] for name, tensor in BATCH.items()}
    assert length < BATCH["input_ids"].shape[1]
    torch.testing.assert_close(split.model(**alone).logits, padded[1:2], atol=1e-5, rtol=0)
    without_mask = split.model(input_ids=alone["input_ids"]).logits
    torch.testing.assert_close(without_mask, padded[1:2], atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize(("family", "attention"), CASES)
def test_every_prefix_token_has_a_say(family: str, attention: str) -> None:
    split, _, chosen = prefixed(family, attention, tokens=2)
    before = split.model(**BATCH).logits
    for parameter in chosen.values():
        old = parameter.clone()
        for token in range(2):
            parameter[:, token] += 1.0
            assert not torch.equal(split.model(**BATCH).logits, before)
            parameter.copy_(old)


@pytest.mark.parametrize(("family", "attention"), CASES)
def test_gradients_reach_every_number_of_the_prefix(family: str, attention: str) -> None:
    split, _, chosen = prefixed(family, attention)
    split.train_only(chosen)
    cross_entropy(split.model(**BATCH).logits, torch.tensor([0, 1, 1])).backward()
    for parameter in chosen.values():
        assert parameter.grad is not None
        assert parameter.grad.all()


@pytest.mark.parametrize(("family", "attention"), CASES)
def test_it_runs_in_half_precision(family: str, attention: str) -> None:
    split, _, _ = prefixed(family, attention, std=0.1)
    full = split.model(**BATCH).logits
    with torch.autocast("cpu", torch.bfloat16):
        half = split.model(**BATCH).logits
    torch.testing.assert_close(half.float(), full, atol=0.1, rtol=0)


@pytest.mark.parametrize(("family", "attention"), CASES)
def test_the_attention_function_is_put_back(family: str, attention: str) -> None:
    split, tuner, _ = prefixed(family, attention)
    before = split.model.config._attn_implementation
    assert before == (attention if family in EAGER_ONLY else f"headstart_prefix_{attention}")
    tuner.detach(split)
    assert split.model.config._attn_implementation == attention


def test_the_start_is_normal_with_the_given_deviation() -> None:
    _, _, chosen = prefixed("bert", tokens=400, std=0.05)
    values = torch.cat([p.detach().flatten() for p in chosen.values()])
    assert chosen["bert.encoder.layer.0.attention.self.prefix_keys"].shape == (4, 400, 8)
    assert abs(float(values.mean())) < 0.001
    assert float(values.std()) == pytest.approx(0.05, rel=0.02)


def test_another_seed_gives_another_start() -> None:
    def start(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return next(iter(Prefix().attach(SplitModel(tiny.build("bert"))).values()))

    assert torch.equal(start(1), start(1))
    assert not torch.equal(start(1), start(2))


def test_other_families_are_refused_by_name() -> None:
    config = GPT2Config(vocab_size=50, n_embd=8, n_layer=1, n_head=2)
    split = SplitModel(AutoModelForSequenceClassification.from_config(config))
    with pytest.raises(ModelError, match=r"albert, bert, .*modernbert.* found GPT2Model"):
        Prefix().attach(split)


def test_an_attention_function_that_cannot_be_chosen_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    split = SplitModel(tiny.build("modernbert"))
    monkeypatch.delattr(modeling_modernbert, "ALL_ATTENTION_FUNCTIONS")
    with pytest.raises(ModelError, match="Update transformers"):
        Prefix().attach(split)
    assert split.model.config._attn_implementation == "sdpa"


def test_a_decoder_of_a_supported_family_is_refused() -> None:
    with pytest.raises(ModelError, match="BertModel"):
        Prefix().attach(SplitModel(tiny.build("bert", is_decoder=True)))


def test_detach_before_attach_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(RuntimeError, match="attach"):
        Prefix().detach(SplitModel(tiny.build("bert")))
