"""What every registered technique promises: one line of the notation, the same bits every time."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import headstart as hs
from alike import spread
from headstart.errors import ModelError, NotationError
from headstart.techniques import TECHNIQUES
from headstart.tuners import TUNERS
from headstart.tuners._bind import read_strategy
from tiny_runs import Watch, inputs, same, saved, watched

NAMES = [*TECHNIQUES]
LINES = {
    "class_weights": "class_weights(power=0.5)", "contrast": "contrast(0.5)", "reinit": "reinit(1)",
    "swa": "swa(start=0.25)", "hype": "hype(eps=0.01)",
}  # fmt: skip
FEW = ("bert", "roberta", "distilbert", "modernbert", "deberta-v2")


def line(name: str) -> str:
    return LINES.get(name, name)


PART_AT_ZERO = ("adapter", "dora", "eva", "histogram", "hydra", "lora", "peft", "rslora", "vera")
MASKED_ANEW = [(tuner, "child_tuning(mode=F)") for tuner in PART_AT_ZERO]


def allowed(tuner: str, name: str) -> bool:
    try:
        read_strategy(f"{tuner}+{line(name)} > full")
    except NotationError:
        return False
    return True


BESIDE = [(tuner, name) for name in NAMES for tuner in TUNERS if allowed(tuner, name)]
REFUSED = [(tuner, name) for name in NAMES for tuner in TUNERS if not allowed(tuner, name)]


def test_how_many_pairs_are_covered() -> None:
    assert len(BESIDE) + len(REFUSED) == len(NAMES) * len(TUNERS)
    tied_to_full = {"mixout", "noisytune", "reinit"}
    needs_weights = {"recadam"}  # beside full and top
    needs_layers = {
        "child_tuning",
        "llrd",
        "gradual_unfreezing",
        "r3f",
        "smart",
        "hype",
        "contrast",
    }
    assert {name for _, name in REFUSED} == tied_to_full | needs_weights | needs_layers
    without_gradient = {(tuner, "child_tuning") for tuner in PART_AT_ZERO}  # mode D, the default
    without_head = {*REFUSED} - without_gradient
    assert without_gradient <= {*REFUSED}
    assert {tuner for tuner, name in without_head if name in needs_layers} == {"head"}
    others = len(TUNERS) - 1
    assert len(without_head) == len(tied_to_full) * others + others - 1 + len(needs_layers)


STEPS = 5
Runs = Callable[[str, str], hs.RunResult]
each_technique = pytest.mark.parametrize(
    ("name", "family"),
    spread([(name, family) for name in NAMES for family in FEW], times=1),
    scope="module",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Fine-tuning with a technique or with none, by family; carried out when first asked for."""

    @functools.cache
    def get(added: str, family: str) -> hs.RunResult:
        folder = tmp_path_factory.mktemp(family)
        settings = inputs(folder, family, strategy=f"full(steps={STEPS}){added}", guard=False)
        return hs.fit(**settings, out=str(folder / "run"))

    return get


@each_technique
def test_a_run_acts_and_saves_a_plain_model(name: str, family: str, runs: Runs) -> None:
    one = runs(f"+{line(name)}", family)
    if name != "class_weights":  # the rows of both classes are equally many
        assert not same(saved(one.out), saved(runs("", family).out)), "it does nothing"
    scored = hs.evaluate(str(one.out), data=one.settings["validation"])
    assert scored["loss"] == pytest.approx(one.last["loss"], abs=1e-5)


@each_technique
def test_an_interrupted_stage_goes_on_to_the_same_bits(
    tmp_path: Path, name: str, family: str, runs: Runs
) -> None:
    """One that is not interrupted repeats bit for bit, then, too: its first steps did."""
    strategy = f"full(steps={STEPS})+{line(name)}"
    settings = inputs(tmp_path, family, strategy=strategy, guard=False)

    def at_step(_: int, step: int) -> None:
        if step == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        hs.fit(**settings, out=str(tmp_path / "cut"), callback=Watch(at_step))
    resumed = hs.fit(resume=True, out=str(tmp_path / "cut"))
    whole = runs(f"+{line(name)}", family)
    assert same(saved(whole.out), saved(resumed.out))
    assert whole.last == resumed.last


@pytest.mark.parametrize(("tuner", "name"), spread([*BESIDE, *MASKED_ANEW], times=1))
def test_the_backbone_is_restored_behind_it(tmp_path: Path, tuner: str, name: str) -> None:
    watch = watched(
        **inputs(tmp_path, strategy=f"{tuner}(steps=3)+{line(name)} > full(steps=1)", guard=False),
        out=str(tmp_path / "run"),
    )
    before, last = watch.stages
    assert before.handed_fingerprint == last.fingerprint
    assert same(before.handed_head, last.head)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("full+mixot", "mixout"),
        ("full+mixout(q=1)", "'q'"),
        ("full+mixout(p=1)", "from 0 to below 1"),
        ("full+ema+ema", "there already"),
        ("bitfit+mixout > full", "full+mixout"),
        ("full+class_weights+label_smoothing", "write it before class_weights"),
        ("head+r3f > full", "full+r3f"),
        ("full+r3f+smart", "one of the two"),
        ("full+smart+r3f", "one of the two"),
        ("full+mixout+recadam", "one of the two"),
        ("full+recadam+mixout", "one of the two"),
        ("full+ema+swa", "one of the two"),
        ("full+swa+ema", "one of the two"),
        ("bitfit+recadam > full", "full+recadam"),
        ("lora+child_tuning > full", "lora+child_tuning(mode=F)"),
        ("full+contrast", "full+contrast >> head(until=optimum)"),
        ("full+contrast > full", "'>>' and a further stage"),
        ("head > full+contrast(1)", "trains no head"),
        ("head+contrast > full", "features that stand still"),
        ("full+r3f(noise=gaussian)", "uniform or normal"),
        ("full+gradual_unfreezing(share=0)", "above 0 and up to 1"),
        ("mixout > full", "technique"),
        ("full+bitfit", "tuner"),
        ("full+", "name of a technique"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(text: str, told: str) -> None:
    with pytest.raises(NotationError) as caught:
        read_strategy(text)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("strategy", "told"),
    [
        ("bitfit(steps=2) > full+reinit(k=99)", "at least 99 layers for reinit(k=99)"),
        ("bitfit(steps=2) > lora(r=999)", "lora(r=…) of at most 32, the width of"),
        ("bitfit(steps=2) > pissa(r=33)", "Lower it"),
    ],
)
def test_what_a_model_cannot_carry_is_refused_before_the_first_stage(
    tmp_path: Path, strategy: str, told: str
) -> None:
    with pytest.raises(ModelError) as caught:
        hs.fit(**inputs(tmp_path, strategy=strategy, guard=False), out=str(tmp_path / "run"))
    assert told in str(caught.value)
    assert [path.name for path in tmp_path.glob("run*")] == []


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_within_their_ranges(name: str) -> None:
    technique = TECHNIQUES.get(name)
    made: Any = technique()
    for knob, (_, holds) in technique.ranges.items():
        assert holds(getattr(made, knob))


@pytest.mark.parametrize("name", NAMES)
def test_what_needs_classes_is_refused_for_numbers(tmp_path: Path, name: str) -> None:
    settings = inputs(tmp_path, strategy=f"head(steps=1) > full(steps=1)+{line(name)}", guard=False)
    for split in ("train", "validation"):
        rows = pd.read_csv(settings[split])
        rows.assign(label=np.linspace(0, 5, len(rows))).to_csv(settings[split], index=False)
    if "number" in TECHNIQUES.get(name).targets:
        hs.fit(**settings, out=str(tmp_path / "run"))
        return
    with pytest.raises(NotationError) as caught:
        hs.fit(**settings, out=str(tmp_path / "run"))
    assert "meaning for the target number" in str(caught.value)
    assert f"{line(name)}\n" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_techniques_stand_in_the_name_and_behind_aliases() -> None:
    written = read_strategy("eh-ft + mixout(0.7) + ema").name
    assert written == "bitfit > full+mixout(0.7)+ema"
    assert read_strategy(written).name == written


def test_torch_is_seeded_alike_before_and_after(tmp_path: Path) -> None:
    """A technique draws from streams of its own, so dropout is that of the plain stage."""
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    settings = inputs(tmp_path, strategy="full(steps=2)+reinit(1)+noisytune", guard=False)
    hs.fit(**settings, out=str(tmp_path / "run"))
    assert torch.equal(torch.random.get_rng_state(), before)
