"""The Python interface: the same runs as on the command line, as calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from torch import nn

from headstart.config import FitConfig
from headstart.configfile import TRUST
from headstart.data.tables.objects import as_frame, is_table
from headstart.data.tables.stream import TableParts
from headstart.data.tables.usable import EmptyText, Gaps, MissingLabel
from headstart.errors import ConfigError, HeadstartError, ModelError, gathering, raise_all
from headstart.inference.inputs import LongTexts
from headstart.inference.predict import Classifier, Prediction
from headstart.models.backbone import SplitModel
from headstart.pretrain.head import pretrain
from headstart.pretrain.probe import run_probe
from headstart.results import RunResult
from headstart.run import plan_run, run
from headstart.steps.callback import Callback
from headstart.steps.output.folder import interrupted_settings
from headstart.steps.output.summary import PlanSummary

__all__ = ["Classifier", "Prediction", "evaluate", "fit", "load", "plan", "pretrain_head", "probe"]

TABLES = ("train", "validation")
IN_MEMORY = "(data frame)"
"""What a run's settings say in place of a table that has no file."""


def fit(*, callback: Callback | None = None, **settings: Any) -> RunResult:
    """Train one run; the settings are those of ``headstart fit``.

    Args:
        callback: Hears what happens along the way.
        **settings: Fields of ``FitConfig``. ``train`` and ``validation`` may also be data frames,
            or data sets of ``datasets``. With ``resume=True``, ``out`` alone will do.

    Returns:
        The record. The model stands in its folder, ``result.out``; ``load(result)`` loads it.

    Raises:
        HeadstartError: If the input is at fault or the run fails.
    """
    config, frames = _read(settings)
    return run(config, callback, frames)


def plan(**settings: Any) -> PlanSummary:
    """Return the plan of a run, without training or writing."""
    return plan_run(*_read(settings, look=True))


def load(
    source: str | Path | RunResult,
    *,
    device: str = "auto",
    precision: str = "auto",
    trust_remote_code: bool = False,
    empty_text: EmptyText = "error",
    missing_label: MissingLabel = "error",
    long_texts: Literal["cut", "windows"] | None = None,
    window_overlap: int | None = None,
) -> Classifier:
    """Load a finished model for prediction.

    Args:
        source: A run, what ``fit`` returned, a ``model`` folder, or any sequence-classification
            checkpoint.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: ``fp32``, ``bf16``, ``fp16``, or ``auto``: that in which the run was evaluated,
            so that its scores come out again. What lies on the base model computes in fp32.
        trust_remote_code: Whether code that comes with the model may run.
        empty_text: Rows without text: an ``error``, left out (``drop``), or read as empty
            (``keep``).
        missing_label: Rows without a label: an ``error``, or left out (``drop``).
        long_texts: Texts over the longest input: ``cut``, or read in ``windows`` whose logits are
            averaged; by default as in training.
        window_overlap: Tokens that a window shares with the one before; by default as in training.

    Returns:
        The classifier. Its ``counts`` say how many rows of the last call had gaps.

    Raises:
        HeadstartError: If there is no trained model.
    """
    given = long_texts or (None if window_overlap is None else "windows")
    config = FitConfig.build(
        {
            "model": "-", "task": "-", "device": device, "precision": precision,
            "empty_text": empty_text, "missing_label": missing_label, "long_texts": given,
            "window_overlap": window_overlap,
        }
    )  # fmt: skip
    where = source.out if isinstance(source, RunResult) else source
    return Classifier(
        str(where), config.device, config.precision, trust_remote_code=trust_remote_code,
        gaps=Gaps(config.empty_text, config.missing_label),
        long_texts=LongTexts(long_texts and config.long_texts, config.window_overlap),
    )  # fmt: skip


def evaluate(
    source: str | Path | RunResult,
    data: Any,
    *,
    split: str | None = None,
    encoding: str | None = None,
    device: str = "auto",
    trust_remote_code: bool = False,
    empty_text: EmptyText = "error",
    missing_label: MissingLabel = "error",
    long_texts: Literal["cut", "windows"] | None = None,
    window_overlap: int | None = None,
    **columns: Any,
) -> dict[str, float]:
    """Measure a finished model on labelled rows.

    Args:
        source: As for ``load``.
        data: A file, a saved data set, a data frame, or a data set of ``datasets``.
        split: Which split of a data set that has several.
        encoding: That of a file of text; ``None`` for UTF-8.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        trust_remote_code: Whether code that comes with the model may run.
        empty_text: As for ``load``.
        missing_label: As for ``load``.
        long_texts: As for ``load``.
        window_overlap: As for ``load``.
        **columns: ``task``, or ``text``, ``label``, ``label_columns``, ``label_separator``,
            ``choices``, ``span`` as for ``fit``, where the run's own do not fit.

    Returns:
        Metrics by name, ``score`` (their mean) and ``loss`` among them.
    """
    classifier = load(
        source, device=device, trust_remote_code=trust_remote_code, empty_text=empty_text,
        missing_label=missing_label, long_texts=long_texts, window_overlap=window_overlap,
    )  # fmt: skip
    classifier.use_columns(**columns)
    if isinstance(data, str | Path):
        return classifier.evaluate_parts(TableParts(data, split=split, encoding=encoding))
    return classifier.evaluate_frame(as_frame(data, split=split, where="the data"))


def pretrain_head(
    model: nn.Module,
    dataset: Iterable[Mapping[str, Any]],
    tuner: str = "bitfit",
    *,
    label_column: str = "label",
    new_parameters: Iterable[str] = (),
    epochs: float | None = None,
    batch_size: int = 32,
    lr: float | None = None,
    head_lr: float | None = None,
    seed: int = 0,
    device: str = "auto",
) -> nn.Module:
    """Train the head of your own transformers model; its backbone comes back untouched.

    This is stage 1 of EH-FT on its own (arXiv 2210.16771): the head learns together with a small
    tuner on the frozen backbone, then the tuner is thrown away. Fine-tune the result with any
    trainer.

    Args:
        model: An ``AutoModelFor…`` classifier. Changed in place: only its head.
        dataset: Tokenised rows: mappings with ``input_ids`` and the label, such as a ``datasets``
            data set; ``token_type_ids`` and ``attention_mask`` are used where they are there.
        tuner: What trains beside the head, in the strategy notation, for example ``lora(r=16)``.
        label_column: Name of the label; ``labels`` is understood too.
        new_parameters: Names of further parameters that the checkpoint did not provide, from
            ``loading_info["missing_keys"]``; needed only where a pooler was missing.
        epochs: Length; by default until the head has learned.
        batch_size: Rows per optimizer step.
        lr: Learning rate of the tuner; ``None`` where it is ``head``, which has ``head_lr`` alone.
        head_lr: Learning rate of the head.
        seed: Seed of data order, dropout and tuner.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Returns:
        The same model. If the head learned nothing in two attempts it is as it was, and a warning
        says so.

    Raises:
        HeadstartError: If the model has no head, the rows do not fit, or the line cannot be read.
    """
    if not isinstance(model, nn.Module):
        raise ModelError("a transformers model", type(model).__name__, "Load it first.")
    pretrain(
        SplitModel(model, new_parameters), dataset, tuner, label_column=label_column,
        epochs=epochs, batch_size=batch_size, lr=lr, head_lr=head_lr, seed=seed, device=device,
    )  # fmt: skip
    return model


def probe(
    *, seeds: int | Sequence[int] = 5, lrs: Sequence[float] = (1e-3, 3e-3, 1e-2), **settings: Any
) -> pd.DataFrame:
    """Measure how much a frozen encoder knows: train linear probes of several seeds and rates.

    The features are computed once and all heads train at once, each as ``fit`` would train it
    by ``strategy="head", dropout=0``. The best rate was chosen by the very rows that it is scored
    on: to report it, fit with it and evaluate on rows that have not been looked at.

    Args:
        seeds: Seeds of head and data order, or how many, from 0.
        lrs: Peak learning rates of the head.
        **settings: As for ``fit``, as far as they concern the rows and the head.

    Returns:
        A row for each seed and rate: ``seed``, ``lr``, the metrics on the validation rows,
        ``score`` (their mean) and ``loss``.
    """
    config, frames = _read(settings)
    chosen = range(seeds) if isinstance(seeds, int) else seeds
    return pd.DataFrame(run_probe(config, list(chosen), list(lrs), frames))


def _read(
    settings: Mapping[str, Any], *, look: bool = False
) -> tuple[FitConfig, dict[str, pd.DataFrame]]:
    """Return the settings, and the tables among them by the name of their split."""
    resumes = settings.get("resume") is True and settings.get("out")
    said = settings.get(TRUST) is not None
    before = interrupted_settings(Path(settings["out"]), said=said, look=look) if resumes else {}
    named = {**before, **settings}
    given = {name: value for name, value in named.items() if is_table(value)}
    # What is neither a table nor the name of one is refused below, as a table.
    given |= {k: v for k in TABLES if not isinstance(v := named.get(k), str | Path | None)}
    wrong = next((name for name in given if name not in TABLES), None)
    if wrong is not None:
        raise ConfigError(
            "a table as train or validation alone",
            f"a {type(given[wrong]).__name__} as {wrong}",
            f"Give {wrong} as text, a number, or the name of a file or column.",
        )
    config = FitConfig.build({**named, **dict.fromkeys(given, IN_MEMORY)})
    for name in TABLES:
        if getattr(config, name) == IN_MEMORY and name not in given:
            raise ConfigError(
                f"{name}=…, the table with which the run was started",
                "none",
                "Give the same table again.",
            )
    faults: list[HeadstartError] = []
    frames = {}
    for name, value in given.items():
        with gathering(faults):
            frames[name] = as_frame(value, split=name, or_all=True, where=f"the data for {name}")
    raise_all(faults)
    return config, frames
