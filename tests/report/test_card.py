"""The section of a model card: what it says, and that it replaces nothing but itself."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny_records as made
from headstart.errors import ConfigError, RunError
from headstart.report.answer import answer
from headstart.report.card import BEGIN, END, put_into, section
from tiny_records import BITFIT, FULL, NASTY


def test_it_holds_the_answer_the_table_the_seeds_and_the_cautions() -> None:
    lost = [made.failure(made.axes(BITFIT, 99))]
    study = made.evidence(made.noisy({BITFIT: 0.05}), lost=lost)
    text = section(study)
    found = answer(study.summary)
    assert f"**{found.best}** {found.sure}" in text
    assert "| bitfit > full (eh-ft) | 8 |" in text
    assert (
        "Seeds of each strategy: 8. Baseline: full (ft). Runs: 16 finished, 1 failed of 17." in text
    )
    assert "- 1 run failed, part of no mean." in text
    assert (text.splitlines()[0], text.splitlines()[-1]) == (BEGIN, END)


def test_a_model_is_set_against_the_runs_of_its_strategy() -> None:
    study = made.evidence(made.noisy({}))
    run = next(run for run in study.runs if run.axes["strategy"] == BITFIT)
    text = section(study, run.result)
    assert f"one run of bitfit > full (eh-ft), seed {run.result.seed};" in text
    assert "other rows" not in text
    run.result.data["train_fingerprint"] = "sha256:other"
    moved = made.evidence(made.noisy({}))
    assert "trained on other rows" in section(moved, run.result)
    run.result.backbone["source"] = "another"
    assert "from another checkpoint" in section(moved, run.result)
    run.result.strategy = "lora > full"
    with pytest.raises(ConfigError, match="a strategy of the study; found 'lora > full'"):
        section(moved, run.result)


def test_flattered_scores_keep_their_mark_and_folders_their_privacy() -> None:
    axes = [{**made.axes(s, n), "model": "/home/me/tiny"} for n in range(3) for s in (FULL, BITFIT)]
    records = [made.record(a, 0.7) for a in axes]
    for record in records:
        record["result"]["selected"] = "best"
    text = section(made.gather("x", records, [], FULL, [FULL, BITFIT]))
    assert r"| full (ft) | 3 | 70.0\* ± 0.0 |" in text
    assert r"- \* rests on scores of rows that also selected" in text
    assert "/home/me" not in text
    assert "Checkpoint: tiny." in text


def test_what_a_user_typed_stays_text() -> None:
    axes = [made.axes(s, n, task=NASTY + END) for n in range(2) for s in (FULL, BITFIT)]
    study = made.gather("x", [made.record(a, 0.7) for a in axes], [], FULL, [FULL, BITFIT])
    text = section(study)
    assert text.splitlines().count(END) == 1
    assert NASTY not in text


@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_a_file_keeps_all_but_the_section(tmp_path: Path, line_break: str) -> None:
    path = tmp_path / "README.md"
    before, after = f"---{line_break}tags: [ä]{line_break}---", f"{line_break}After.  {line_break}"
    path.write_bytes(before.encode())
    assert not put_into(path, f"{BEGIN}\none\n{END}\n")
    first = path.read_bytes()
    assert first.decode().startswith(before + line_break)
    path.write_bytes(first + after.encode())
    assert put_into(path, f"{BEGIN}\ntwo\nlines\n{END}\n")
    assert (
        path.read_bytes()
        == (first.replace(b"one", f"two{line_break}lines".encode())) + after.encode()
    )
    once = path.read_bytes()
    assert put_into(path, f"{BEGIN}\ntwo\nlines\n{END}\n")
    assert path.read_bytes() == once
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "old", [f"a\n{BEGIN}\n", f"{END}\n{BEGIN}", f"{BEGIN}\n{END}\n" * 2, b"\xff\xfe"]
)
def test_a_file_that_cannot_be_understood_stays_as_it_is(tmp_path: Path, old: str | bytes) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(old if isinstance(old, bytes) else old.encode())
    before = path.read_bytes()
    with pytest.raises(RunError):
        put_into(path, f"{BEGIN}\n{END}\n")
    assert path.read_bytes() == before
