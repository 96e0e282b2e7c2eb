"""The model card that a run writes beside its checkpoint."""

from __future__ import annotations

import yaml

from headstart.results import CALIBRATION_FIGURES, RunResult, describe_calibration
from headstart.targets import TARGETS
from headstart.untrusted import markdown, markdown_code

_PLAIN = """```python
from transformers import pipeline
classify = pipeline("text-classification", model="{folder}")
```"""
_CLASS = """```python
from transformers import AutoModelForMultipleChoice
model = AutoModelForMultipleChoice.from_pretrained("{folder}")
```"""
_OWN = """The head is one of headstart's own, so the model needs headstart to load:

```python
import headstart as hs
model = hs.load("{folder}")
```"""

_SENTENCE = """

Or with sentence-transformers, where the vector of a text is its logits:

```python
from sentence_transformers import SentenceTransformer
logits = SentenceTransformer("{folder}").encode(["a text"])
```"""


def model_card(result: RunResult, *, own_head: bool, sentence: bool = False) -> str:
    """Write the card.

    Args:
        result: The run's record.
        own_head: Whether the head is one of headstart's own.
        sentence: Whether it stands there in the form of sentence-transformers too.

    Returns:
        Markdown with the hub's front matter.
    """
    task = result.task
    choice = task["shape"] == "choice"
    use = _OWN if own_head else _CLASS if choice else _PLAIN
    use += _SENTENCE if sentence else ""
    kind = TARGETS.get(task["target"]).tag
    scores = "\n".join(f"| {name} | {value:.4f} |" for name, value in result.scores.items())
    stages = "\n".join(
        f"| {markdown_code(s.stage)} | {s.steps} | {s.lr:g} | {s.head_lr:g} "
        f"| {s.trainable['tuner']:,} + {s.trainable['head']:,} | {s.seconds:.0f} |"
        for s in result.stages
    )
    notes = "".join(f"- {markdown(note)}\n" for note in (*result.guard, *result.warnings))
    source = str(result.backbone.get("source", ""))
    about = {
        "library_name": "headstart" if own_head else "transformers",
        "pipeline_tag": "text-classification",
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

{use.format(folder="path/to/this/folder")}

## Scores ({markdown(result.reported_on)})

| metric | value |
|---|---|
{scores}

Saved is the `{result.selected}` state: {markdown(result.rule)}.
{_calibration(result)}
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
