"""``headstart head``: what it shows, and what it says to what is no head."""

from __future__ import annotations

from pathlib import Path

import tiny
from cli.rows import Run
from headstart.models.backbone import SplitModel
from headstart.models.headfile import RECORD, Head


def test_scores_are_told_with_what_they_were_measured_on(cli: Run, tmp_path: Path) -> None:
    Head.of(SplitModel(tiny.build("bert")), ("no", "yes"), scores={"accuracy": 0.75}).save(tmp_path)
    shown = cli("head", "inspect", tmp_path).out
    assert "accuracy on that backbone" in shown
    assert "0.7500" in shown


def test_extract_reads_a_checkpoint_of_anybodys(cli: Run, tmp_path: Path) -> None:
    model = tiny.save_pretrained("roberta", tmp_path / "model", head=True)
    assert "LABEL_0, LABEL_1" in cli("head", "extract", model, "--out", tmp_path / "head").out
    assert (tmp_path / "head" / RECORD).is_file()


def test_what_is_no_head_is_told_at_once(cli: Run, model: Path, tmp_path: Path) -> None:
    for words, told in (
        (("inspect", f"{model}/model.safetensors"), f"Give its folder: {model}"),
        (("inspect", tmp_path), "head.json, or a run or checkpoint with config.json"),
        (("inspect", model), "a checkpoint with a trained head"),
        (("extract", f"{model}x", "--out", tmp_path / "h"), f"Did you mean '{model}'?"),
    ):
        answer = cli("head", *words)
        assert answer.code == 2
        assert told in answer.err
        assert "Retrying" not in answer.err
    assert list(tmp_path.iterdir()) == []


def test_extract_writes_into_a_folder_of_its_own(
    cli: Run, run_folder: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    before = files[0].read_bytes()
    for out, told in (
        (files[0], f"{files[0]}, which is a file"),
        (files[0] / "head", f"{files[0]}, which is a file"),
        (tmp_path / "mine", "files in it that are no head"),
    ):
        answer = cli("head", "extract", run_folder, "--out", out, "--overwrite")
        assert answer.code == 2
        assert told in answer.err
    assert files[0].read_bytes() == before
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
