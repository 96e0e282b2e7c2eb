"""What others have written is shown, not obeyed: by terminals, Markdown, LaTeX, HTML and sheets."""

from __future__ import annotations

import io
import json
import logging
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import tiny_records
from headstart.cli.shared import console as _console
from headstart.cli.shared.write import WRITERS, without_formulas, writing
from headstart.errors import did_you_mean
from headstart.report.card import section
from headstart.report.document import escape
from headstart.report.page import build
from headstart.steps.output.card import model_card
from headstart.steps.output.logfile import logging_to
from headstart.study.formats import FORMATS, as_text
from headstart.untrusted import (
    LONGEST,
    markdown,
    markdown_code,
    one_line,
    printable,
    quoted,
    shortened,
    shown,
)

HOSTILE = (
    "\x1b[31mred\x1b]0;title\x07 \x9b2J \u202eevil\u202c\u200f [bold]x[/bold] "
    "<script>alert(1)</script> `a` [here](javascript:1) ![i](http://x) "
    "| **b** \\input{x} % $y$ a\rb\u2028c\n---\nd\n"
)
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def test_what_steers_or_cannot_be_seen_is_spelled_out() -> None:
    assert printable("\x1b[0m \u202e \ud800 \U000e0041") == r"\u001b[0m \u202e \ud800 \U000e0041"
    assert printable("a\tb\nc\u200dd é 漢字 עברית 👩‍🔬") == "a\tb\nc\u200dd é 漢字 עברית 👩‍🔬"
    assert not OBEYED.search(printable(HOSTILE))
    assert one_line("a\r\nb\tc\u2028d\x0be") == "a b c d e"
    assert printable(printable(HOSTILE)) == printable(HOSTILE)


def test_long_names_are_cut_and_say_so() -> None:
    assert shortened("x" * LONGEST) == "x" * LONGEST
    assert shown("x" * 10_060) == "x" * LONGEST + "… (10,000 more characters)"
    assert len(quoted("x" * 10_000)) < 2 * LONGEST
    assert len(did_you_mean("x" * 20, ["x" * 21, "y" * 10_000])) < 3 * LONGEST
    assert len(did_you_mean("z", ["x" * 10_000, "y" * 10_000])) < 4 * LONGEST


def test_markdown_stays_text() -> None:
    told = markdown(HOSTILE)
    assert "\n" not in told
    assert not re.search(r"(?<!\\)[`|*<]", told)
    assert not re.search(r"(?<!\\)\][(\[:]", told)
    assert markdown("+3.5 [1.5, 5.5]") == "+3.5 [1.5, 5.5]"
    assert markdown(r"\|") == r"\\\|"
    assert markdown_code("a`b``c") == "```a`b``c```"
    assert markdown_code("`") == "`` ` ``"
    assert markdown_code("full") == "`full`"


def printed(*parts: object) -> str:
    stream = io.StringIO()
    _console.show(*parts, to=_console._console(stream))
    return stream.getvalue()


def test_a_terminal_gets_no_signs_to_obey() -> None:
    table = _console.table(("name", HOSTILE), [(HOSTILE, "1")])
    for text in (printed(HOSTILE), printed(table), printed(_console.facts([("label", HOSTILE)]))):
        assert not OBEYED.search(text)
        assert "[bold]x[/bold]" in "".join(text.split("\n"))
        assert r"\u001b[31mred" in text


def test_output_on_a_terminal_is_printable_and_elsewhere_unchanged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for terminal in (False, True):
        stream = io.StringIO()
        monkeypatch.setattr(stream, "isatty", lambda terminal=terminal: terminal)
        monkeypatch.setattr("sys.stdout", stream)
        _console.write_out(HOSTILE)
        assert stream.getvalue() == (printable(HOSTILE) if terminal else HOSTILE)


def test_the_log_cannot_be_forged(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    with logging_to(path):
        logging.getLogger("headstart").info("label %s", HOSTILE)
        logging.getLogger("headstart").info("x" * 100_000)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert not OBEYED.search("".join(lines))
    assert [line[:4].isdigit() for line in lines] == [True, False, False, False, True]
    assert len(lines[-1]) < 5000


def hostile_result() -> Any:
    axes = tiny_records.axes("full", 0, "reviews")
    result = tiny_records.result(axes, 0.7)
    result.data["validation_origin"] = f"20% of {HOSTILE}"
    result.task |= {"shape": "single", "target": "classes"}
    result.task["name"], result.backbone["source"] = HOSTILE, "m: [x]\n---\n" + HOSTILE
    result.warnings.append(f"The model predicts one class only: {HOSTILE}.")
    return result


def test_a_card_keeps_its_front_matter_and_its_parts() -> None:
    result = hostile_result()
    card = model_card(result, own_head=False)
    _, front, body = re.split(r"^---$\n?", card, maxsplit=2, flags=re.MULTILINE)
    found = yaml.safe_load(front)
    assert found["base_model"] == result.backbone["source"]
    assert list(found) == ["library_name", "pipeline_tag", "base_model", "tags"]
    assert not OBEYED.search(card)
    assert "\n---\n" not in body
    outside = re.sub(r"(`+).+?\1", "", body.replace("\\`", ""))
    assert not re.search(r"(?<!\\)<script|(?<!\\)\]\(", outside)


def test_a_study_of_hostile_names_is_told_in_every_form() -> None:
    study = tiny_records.evidence(tiny_records.noisy({}), seeds=6, tasks=("one", HOSTILE))
    for form in FORMATS:
        text = as_text(study.summary, form)
        if form == "csv":
            assert HOSTILE in text  # data, for programs
            continue
        assert not OBEYED.search(text), form
        assert "\nd\n" not in text
        assert form != "latex" or r"\input" not in re.sub("%.*", "", text)
    assert not OBEYED.search(section(study))
    page = build(study)
    assert not OBEYED.search(page.partition("<body>")[2].partition('<script type="app')[0])
    assert "<script>alert" not in page


def test_a_page_turns_no_direction() -> None:
    assert escape("\u202e<b>") == "\\u202e&lt;b&gt;"
    assert len(escape("x" * 100_000)) < 5000


FORMULAS = ["=1+1", "+1+1", "-x", "@x", "\tx", "-2", "+1.5e3", "plain", "a=b", "", None]


@pytest.mark.parametrize("ending", WRITERS)
def test_formulas_are_escaped_only_when_asked(tmp_path: Path, ending: str) -> None:
    table = pd.DataFrame({"=text": FORMULAS, "number": [-1.5] * len(FORMULAS)})
    before = table.copy()
    for asked in (False, True):
        path = tmp_path / f"{asked}{ending}"
        with writing(path) as plain:
            (without_formulas(plain) if asked else plain)(table)
        text = path.read_bytes().decode("utf-8", "replace")
        assert ("'=1+1" in text) is asked
        assert "a=b" in text
        assert "'a=b" not in text
        if ending == ".csv":
            found = pd.read_csv(path, keep_default_na=False)
            assert list(found) == [f"{chr(39) * asked}=text", "number"]
            texts = [f"{chr(39) * asked}{text}" for text in FORMULAS[:5]]
            assert found.iloc[:, 0].tolist() == [*texts, *FORMULAS[5:-1], ""]
            assert found["number"].tolist() == [-1.5] * len(FORMULAS)
    pd.testing.assert_frame_equal(table, before)


def test_json_for_programs_holds_the_same_text() -> None:
    spelled = printable(json.dumps({"label": HOSTILE}, ensure_ascii=False))
    assert json.loads(spelled)["label"] == HOSTILE
