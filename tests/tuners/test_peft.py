"""Tuners made of peft compute what their papers say, worked out here from the weights alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import headstart as hs
import tiny
from headstart.errors import ConfigError, ModelError, NotationError
from headstart.models.backbone import SplitModel
from headstart.tuners._bind import read_strategy
from headstart.tuners._peft import PeftTuner
from headstart.tuners.beft import Beft
from headstart.tuners.dora import Dora
from headstart.tuners.eva import Eva, main_directions
from headstart.tuners.ia3 import Ia3
from headstart.tuners.oft import Oft
from headstart.tuners.pissa import Pissa
from headstart.tuners.rslora import Rslora
from headstart.tuners.vera import Vera
from tiny_runs import inputs, same, saved
from tiny_tuners import make

NAME = "bert.encoder.layer.1.attention.self.query"


def start(tuner: PeftTuner) -> tuple[SplitModel, Any, torch.Tensor, dict[str, Any]]:
    """Return the model, a wrapped map's weight, its value before, and the map's own parts."""
    split = SplitModel(tiny.build("bert"))
    weight: Any = split.backbone[f"{NAME}.weight"]
    before = weight.detach().clone()
    chosen = tuner.attach(split)
    own = {n.removeprefix(f"{NAME}."): p for n, p in chosen.items() if n.startswith(f"{NAME}.")}
    return split, weight, before, own


def named(module: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
    return ((f"{id(module)}.{n}", p) for n, p in module.named_parameters())


def test_dora_gives_each_row_its_trained_length() -> None:
    tuner = Dora(r=4, alpha=6.0)
    split, weight, before, own = start(tuner)
    a, b = (own[f"lora_{x}.default.weight"] for x in "AB")
    (length,) = (p for n, p in own.items() if "magnitude" in n)
    torch.testing.assert_close(length, before.norm(dim=1))
    with torch.no_grad():
        b.normal_()
        length.uniform_(0.5, 2.0)
    direction = (before + 6.0 / 4 * b @ a).detach()
    wanted = length.detach()[:, None] * direction / direction.norm(dim=1, keepdim=True)
    tuner.merge(split)
    torch.testing.assert_close(weight.detach(), wanted)


def test_dora_starts_from_the_checkpoints_output() -> None:
    split = SplitModel(tiny.build("bert"))
    before = split.model(**tiny.batch()).logits
    Dora().attach(split)
    torch.testing.assert_close(split.model(**tiny.batch()).logits, before, atol=1e-6, rtol=0)


def test_rslora_divides_by_the_root_of_the_rank() -> None:
    tuner = Rslora(r=4, alpha=6.0)
    split, weight, before, own = start(tuner)
    a, b = (own[f"lora_{x}.default.weight"] for x in "AB")
    torch.nn.init.normal_(b)
    tuner.merge(split)
    torch.testing.assert_close(weight.detach(), before + 6.0 / 2 * (b @ a).detach())


@pytest.mark.parametrize("alpha", [4.0, 6.0])
def test_pissa_trains_the_principal_part_and_puts_the_bits_back(alpha: float) -> None:
    tuner = Pissa(r=4, alpha=alpha)
    split, weight, before, own = start(tuner)
    product = (alpha / 4 * own["lora_B.default.weight"] @ own["lora_A.default.weight"]).detach()
    u, s, v = torch.linalg.svd(before)
    torch.testing.assert_close(product, u[:, :4] * s[:4] @ v[:4], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(weight.detach() + product, before, atol=1e-6, rtol=1e-5)
    assert not torch.equal(weight, before)
    tuner.detach(split)
    assert torch.equal(weight, before)


def test_main_directions_are_the_right_singular_vectors() -> None:
    rows = torch.randn(50, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = main_directions(rows.T @ rows, 3)
    wanted = torch.linalg.svd(rows).Vh[:3]
    torch.testing.assert_close((found * wanted).sum(1).abs(), torch.ones(3, dtype=torch.float64))
    assert (found.gather(1, found.abs().argmax(1, keepdim=True)) > 0).all()
    assert main_directions(rows.T @ rows, 8).shape == (8, 6)


def test_eva_reads_what_each_map_is_given_and_leaves_padding_out() -> None:
    tuner = Eva(r=4)
    split, _, _, own = start(tuner)
    batch = {**tiny.batch()}
    seen: list[torch.Tensor] = []
    query = split.model.get_submodule(NAME)
    handle = query.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    tuner.prepare(split, lambda: iter([batch]), lambda given: split.model(**given))
    handle.remove()
    kept = seen[0][batch["attention_mask"].bool()].double()
    assert len(kept) < batch["attention_mask"].numel(), "the batch has padding"
    wanted = torch.linalg.svd(kept).Vh[:4].float()
    found = own["lora_A.default.weight"].detach()
    torch.testing.assert_close((found * wanted).sum(1).abs(), torch.ones(4))
    assert not own["lora_B.default.weight"].any()
    assert not query._forward_pre_hooks


def test_eva_sees_training_rows_before_a_stage(tmp_path: Path) -> None:
    settings = inputs(tmp_path, strategy="eva(steps=2) > full(steps=1)", guard=False)
    plain = {**settings, "strategy": "lora(steps=2) > full(steps=1)"}
    first, again = (hs.fit(**settings, out=str(tmp_path / n)) for n in ("a", "b"))
    assert same(saved(first.out), saved(again.out))
    assert not same(saved(first.out), saved(hs.fit(**plain, out=str(tmp_path / "c")).out))


def test_ia3_multiplies_outputs_and_the_inner_states() -> None:
    tuner = Ia3()
    split = SplitModel(tiny.build("bert"))
    layer = "bert.encoder.layer.0"
    key, second = (
        split.model.get_submodule(f"{layer}.{n}") for n in ("attention.self.key", "output.dense")
    )
    before = {n: p.detach().clone() for m in (key, second) for n, p in named(m)}
    tuned = tuner.attach(split)
    assert {tuple(p.shape) for p in tuned.values()} == {(32, 1), (1, 48)}
    scale = tuned[f"{layer}.attention.self.key.ia3_l.default"]
    inner = tuned[f"{layer}.output.dense.ia3_l.default"]
    torch.nn.init.uniform_(scale, 0.5, 2)
    torch.nn.init.uniform_(inner, 0.5, 2)
    tuner.merge(split)
    for name, p in named(key):
        wanted = before[name] * (scale if p.ndim == 2 else scale[:, 0])
        torch.testing.assert_close(p.detach(), wanted.detach())
    for name, p in named(second):
        torch.testing.assert_close(
            p.detach(), (before[name] * (inner if p.ndim == 2 else 1)).detach()
        )


def test_vera_shares_its_matrices_and_trains_two_vectors() -> None:
    tuner = Vera(r=5, d_initial=0.2)
    split, weight, before, own = start(tuner)
    layers = [m for m in split.model.modules() if hasattr(m, "vera_A")]
    assert len({id(layer.vera_A["default"]) for layer in layers}) == 1 < len(layers)
    a, b = layers[0].vera_A["default"], layers[0].vera_B["default"]
    d, scale = own["vera_lambda_d.default"], own["vera_lambda_b.default"]
    assert (d == 0.2).all()
    assert not scale.any()
    torch.nn.init.normal_(scale)
    tuner.merge(split)
    wanted = before + (scale[:, None] * b[:32] @ (d[:, None] * a[:, :32])).detach()
    torch.testing.assert_close(weight.detach(), wanted)


def test_beft_trains_the_bias_of_the_values_alone() -> None:
    split = SplitModel(tiny.build("bert"))
    tuned = Beft().attach(split)
    assert all(".attention.self.value." in name for name in tuned)
    assert [p.numel() for p in tuned.values()] == [32] * len(split.layers())


@pytest.mark.parametrize("exact", [True, False])
def test_oft_rotates_the_inputs_in_blocks(exact: bool) -> None:
    tuner = Oft(block=8, exact=exact)
    split, weight, before, own = start(tuner)
    (entries,) = own.values()
    torch.nn.init.normal_(entries, std=0.02)
    tuner.merge(split)
    turn = torch.linalg.lstsq(before, weight.detach()).solution  # before @ turn = weight
    limit = 1e-4 if exact else 1e-3
    torch.testing.assert_close(turn @ turn.T, torch.eye(32), atol=limit, rtol=0)
    blocks = torch.block_diag(*[torch.ones(8, 8)] * 4)
    assert float((turn * (1 - blocks)).abs().max()) < limit
    assert not torch.allclose(turn, torch.eye(32), atol=1e-2)
    torch.testing.assert_close(weight.detach().norm(dim=1), before.norm(dim=1), atol=limit, rtol=0)


def test_oft_says_which_blocks_would_do() -> None:
    with pytest.raises(ModelError, match="Choose a divisor of 32"):
        make("oft(block=5)").attach(SplitModel(tiny.build("bert")))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("peft(type=lohaa)", "loha"),
        ("peft(type=prefix_tuning)", "prefix"),
        ("peft(type=adalora)", "moves ranks"),
        ("peft(type=loha, rr=3)", "Did you mean 'r'? peft takes type: a word; targets: attention"),
        ("lora(rr=3)", "alpha: a number, above 0; dropout: a number, from 0 to below 1"),
        ("peft(type=loha, r=high)", "peft(r=…) as a whole number"),
        ("dora(r=0)", "1 or more"),
        ("peft(type=lily)", "cannot be written"),
    ],
)
def test_what_peft_cannot_do_here_is_refused_with_the_reason(line: str, told: str) -> None:
    with pytest.raises((ConfigError, NotationError)) as caught:
        read_strategy(line)
    assert told in str(caught.value)


def test_a_method_that_does_not_fit_leaves_no_trace() -> None:
    split = SplitModel(tiny.build("bert"))
    before = {n: type(m) for n, m in split.model.named_modules()}
    fingerprint = split.fingerprint()
    with pytest.raises(ModelError, match="vector_length"):
        make("peft(type=vblora)").attach(split)
    assert {n: type(m) for n, m in split.model.named_modules()} == before
    assert split.fingerprint() == fingerprint
    assert not hasattr(split.base, "peft_config")
