"""The named sets of hyper-parameters."""

from __future__ import annotations

import pytest

from headstart.errors import ConfigError
from headstart.strategies.presets import PRESETS, fine_tuning_rate, get_preset
from headstart.tuners import TUNERS


def test_the_papers_numbers() -> None:
    paper = get_preset("paper")
    assert (paper.batch_size, paper.max_length, paper.clip, paper.weight_decay) == (
        32,
        512,
        0.1,
        0.01,
    )
    assert (paper.betas, paper.eps, paper.warmup, paper.share) == ((0.9, 0.98), 1e-6, 0.1, 0.1)
    assert paper.head == "mlp"
    assert {name: rate for name, (rate, _) in paper.rates.items()} == {
        "full": 1e-5, "bitfit": 5e-4, "lora": 5e-4, "prefix": 5e-3, "head": 1e-3,
    }  # fmt: skip
    assert paper.rates.keys() <= set(TUNERS)


def test_an_unknown_preset_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="'paper'"):
        get_preset("papers")
    assert set(PRESETS) == {"default", "paper"}


def test_larger_backbones_get_smaller_rates() -> None:
    rates = [fine_tuning_rate(n * 10**6) for n in (4, 22, 110, 350, 1000)]
    assert rates == sorted(rates, reverse=True)
    assert (rates[0], rates[2], rates[3]) == (1e-4, 2e-5, 1e-5)
    assert [fine_tuning_rate(n * 10**6, still=True) for n in (4, 110)] == [1e-4, 4e-5]
