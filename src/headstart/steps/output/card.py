"""The model card that a run writes beside its checkpoint."""

from __future__ import annotations

import yaml

from headstart.inputs import INPUTS
from headstart.results import (
    CALIBRATION_FIGURES,
    RunResult,
    describe_calibration,
    show_rate,
    show_score,
)
from headstart.targets import TARGETS
from headstart.untrusted import markdown, markdown_code

_OWN = """The head is one of headstart's own, so the model needs headstart to load:

```python
import headstart as hs
model = hs.load("{folder}")
```"""

_SENTENCE = """

Or with sentence-transformers, where the vector of a {row} is its logits:

```python
from sentence_transformers import SentenceTransformer
logits = SentenceTransformer("{folder}").encode([{example}])
```"""


_LONG = """
## Long texts

Texts over {length} tokens were read in windows of {length}, of which {overlap} are shared with the
window before; the logits of a text are the mean of those of its windows. headstart reads them so
by itself, transformers and sentence-transformers cut them.
"""
_LONG_BY_HAND = """The same logits without headstart:

```python
from transformers import AutoModelForSequenceClassification, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained("{folder}")
model = AutoModelForSequenceClassification.from_pretrained("{folder}")
windows = tokenizer(
    {text}, max_length={length}, stride={overlap},
    return_overflowing_tokens=True, padding=True, return_tensors="pt",
)
windows.pop("overflow_to_sample_mapping")
logits = model(**windows).logits.mean(0)
```
"""


def model_card(result: RunResult, *, own_head: bool, sentence: bool = False) -> str:
    """Write the card: Markdown with the hub's front matter.

    ``sentence`` says that the model stands there in the form of sentence-transformers too.
    """
    task, folder = result.task, "path/to/this/folder"
    use = _OWN if own_head else INPUTS.get(task["shape"]).usage
    row, example = (
        ("pair", '("a text", "another")') if task["shape"] == "pair" else ("text", '"a text"')
    )
    use += _SENTENCE if sentence else ""
    kind = TARGETS.get(task["target"]).tag
    scores = "\n".join(f"| {name} | {show_score(value)} |" for name, value in result.scores.items())
    stages = "\n".join(
        f"| {markdown_code(s.stage)} | {s.steps} | {show_rate(s.lr)} | {show_rate(s.head_lr)} "
        f"| {s.trainable['tuner']:,} + {s.trainable['head']:,} | {s.seconds:.0f} |"
        for s in result.stages
    )
    told = (*result.guard, *result.notes, *result.warnings)
    notes = "".join(f"- {markdown(note)}\n" for note in told)
    source = str(result.backbone.get("source", ""))
    about = {
        "library_name": "headstart" if own_head else "transformers",
        "pipeline_tag": INPUTS.get(task["shape"]).pipeline,
        "base_model": source,
        "tags": ["headstart", kind],
    }
    return f"""---
{yaml.safe_dump(about, sort_keys=False).strip()}
---

# {markdown(task["name"])}: {markdown(result.strategy)}

Fine-tuned with headstart {result.versions["headstart"]}
from {markdown_code(source)}, seed {result.seed},
on {result.data["train_rows"]:,} rows.

{use.format(folder=folder, row=row, example=example)}

## Scores ({markdown(result.reported_on)})

| metric | value |
|---|---|
{scores}

Saved is {markdown(result.rule)}.
{_long_texts(result, folder, own_head=own_head)}{_calibration(result)}
## Training

| stage | steps | lr | head lr | trainable (tuner + head) | seconds |
|---|---|---|---|---|---|
{stages}

{notes}"""


def _calibration(result: RunResult) -> str:
    """Write the section on calibration; empty where the model was left as it was."""
    found = result.calibration
    if not found or found["bound"]:
        return ""
    rows = "\n".join(
        f"| {told} | {found['before'][name]:.4f} | {found['after'][name]:.4f} |"
        for name, told in CALIBRATION_FIGURES.items()
    )
    return f"""
## Calibration

The logits are divided by a temperature of {found["temperature"]:.3f}; the last linear map of the
saved model holds it already. {describe_calibration(found)}

| | before | after |
|---|---|---|
{rows}
"""


def _long_texts(result: RunResult, folder: str, *, own_head: bool) -> str:
    """Write the section on windows; empty where long texts were cut."""
    overlap = result.settings.get("window_overlap")
    if overlap is None:
        return ""
    pair = result.task["shape"] == "pair"
    text = 'first, second, truncation="only_second"' if pair else "text, truncation=True"
    return (_LONG + ("" if own_head else _LONG_BY_HAND)).format(
        length=result.task["max_length"], overlap=overlap, folder=folder, text=text
    )
