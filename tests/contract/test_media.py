"""Pictures and sounds: techniques, tuners, heads from elsewhere, probes, and files that change."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headstart as hs
import tiny_kinds
from alike import first
from headstart.errors import DataError, HeadstartError
from headstart.inputs.media import extractor, pixels
from headstart.techniques import TECHNIQUES
from headstart.tuners import TUNERS
from tiny_runs import Watch

KINDS = ("pictures", "sounds")
KNOBS = {
    "mixout": "(0.7)",
    "reinit": "(1)",
    "contrast": "(0.5)",
    "peft": ", type=loha",
    "oft": ", block=8",
}
REFUSED = {"full(steps=1)+r3f", "full(steps=1)+smart", "prefix(steps=1) > full(steps=1)"}
"""What is refused by name for sounds, of this family."""

Given = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    root = tmp_path_factory.mktemp("media")
    return {kind: tiny_kinds.settings(kind, root / kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "line",
    first(
        [
            *(f"full(steps=1)+{name}{KNOBS.get(name, '')}" for name in TECHNIQUES),
            *(f"{name}(steps=1{KNOBS.get(name, '')}) > full(steps=1)" for name in TUNERS),
        ],
        9,
    ),
)
def test_every_technique_and_tuner_works_or_is_refused_by_name(
    kind: str, line: str, given: Given, tmp_path: Path
) -> None:
    if kind == "sounds" and line in REFUSED:
        with pytest.raises(HeadstartError, match="Wav2Vec2Model"):
            hs.plan(**given[kind], strategy=line)
        return
    result = hs.fit(**given[kind], strategy=line, out=tmp_path / "x")
    assert np.isfinite(result.scores["loss"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_goes_from_run_to_run_and_seeds_of_a_probe_differ(
    kind: str, given: Given, tmp_path: Path
) -> None:
    first = hs.fit(**given[kind], strategy="head(epochs=8, head_lr=0.05)", out=tmp_path / "a")
    own = {"strategy": "full(steps=1, lr=1e-6, head_lr=1e-6)", "head": str(tmp_path / "a")}
    second = hs.fit(**given[kind], **own, out=tmp_path / "b")
    assert second.stages[0].start["loss"] == pytest.approx(first.scores["loss"], abs=1e-5)
    settings = {name: value for name, value in given[kind].items() if name != "guard"}
    probed = hs.probe(**settings, seeds=(0, 1), lrs=(1e-2, 1e-3))
    assert len(probed) == 4
    assert probed["accuracy"].between(0, 1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_not_resumed_on_a_file_that_was_changed(kind: str, tmp_path: Path) -> None:
    own = tiny_kinds.settings(kind, tmp_path / "rows", strategy="full(steps=3)")

    def stop(_: int, step: int) -> None:
        if step == 1:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        hs.fit(**own, out=tmp_path / "run", callback=Watch(stop))
    one, other, *_ = sorted(path for path in Path(own["train"]).rglob("*") if path.is_file())
    other.write_bytes(one.read_bytes())
    with pytest.raises(HeadstartError, match="rows"):
        hs.fit(**own, out=tmp_path / "run", resume=True)


@pytest.mark.parametrize("change", ["other", "gone"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_changes_while_it_is_read_again_ends_the_run_with_its_name(
    kind: str, change: str, given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tiny_kinds.settings(kind, tmp_path / "rows", strategy="full(steps=6)", select="last")
    monkeypatch.setattr(pixels, "LARGEST_STORE", 0)
    monkeypatch.setattr(extractor, "LARGEST_KEPT", 0)
    one, *others = sorted(path for path in Path(own["train"]).rglob("*") if path.is_file())

    def alter(_: int, step: int) -> None:
        for path in others if step == 1 else ():
            path.unlink() if change == "gone" else path.write_bytes(one.read_bytes())

    with pytest.raises(DataError, match=r"as it was at the start.*start again") as told:
        hs.fit(**own, out=tmp_path / "run", callback=Watch(alter))
    assert ("No such file" if change == "gone" else "another content") in str(told.value)
