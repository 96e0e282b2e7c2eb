"""``headstart demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headstart.cli.shared.console import is_main_process, output, show, table
from headstart.cli.shared.usage import command
from headstart.demo import EPOCHS, STRATEGIES
from headstart.errors import ConfigError
from headstart.files.home import path_of

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from headstart.inference.predict import Prediction
    from headstart.results import RunResult
    from headstart.steps.callback import Callback

app = typer.Typer()


@command(
    app,
    "headstart demo",
    "headstart demo --seed 1 --out runs/demo-1",
    "headstart demo --export data/film && headstart fit --model … --train data/film/train.csv "
    "--validation data/film/validation.csv --text sentence",
)
def demo(
    out: Annotated[
        Path, typer.Option("--out", parser=path_of, metavar="DIR", help="Folder for rows and runs.")
    ] = Path("runs/demo"),
    seed: Annotated[int, typer.Option("--seed", help="Seed of the rows and of both runs.")] = 0,
    epochs: Annotated[
        float, typer.Option("--epochs", min=0.1, help="Epochs of all stages together.")
    ] = EPOCHS,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            parser=path_of,
            metavar="DIR",
            help="Write film sentences to try things on, and stop.",
        ),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option("--rows", help="Training rows to export.", show_default="500"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the runs and rows that are there.")
    ] = False,
) -> None:
    """Compare plain fine-tuning and the default, on the same rows for the same number of steps.

    A small sentence encoder learns from 8 sentences each which part of SciPy a function belongs to.
    It comes from a Python package, and they from SciPy's documentation: a minute on two cores,
    without network. --export writes film sentences instead, those of the tutorial.
    """
    from headstart.cli.shared.display import display
    from headstart.demo import FILM_ROWS, classify, run_demo, sample_films, write_rows

    if rows is not None and export is None:
        raise ConfigError("--rows with --export alone", f"--rows {rows}", "Leave it out.")
    if export is not None:
        drawn = sample_films(FILM_ROWS if rows is None else rows)
        train, validation = write_rows(export, *drawn, overwrite=overwrite)
        show(f"{train} and {validation}")
        return
    console = output()

    def listen(name: str) -> AbstractContextManager[Callback]:
        console.rule(f"{name}: {STRATEGIES[name]}")
        return display(console)

    results = run_demo(out, listen, seed=seed, epochs=epochs, overwrite=overwrite)
    if is_main_process():
        _print_results(results)
        _print_predictions(out, classify(out))


def _print_results(results: dict[str, RunResult]) -> None:
    from headstart.cli.shared.tables import before_after

    rows = [
        (
            name,
            stage.stage,
            before_after(stage, "accuracy"),
            stage.steps,
            f"{stage.seconds:.0f}",
            f"{stage.trainable['head'] + stage.trainable['tuner']:,}",
        )
        for name, result in results.items()
        for stage in result.stages
    ]
    head = ("strategy", "stage", ">accuracy before → after", ">steps", ">seconds", ">trainable")
    show("Both on the same rows, with the same seed and number of steps", table(head, rows))
    show(_verdict(results))


def _verdict(results: dict[str, RunResult]) -> str:
    first, second = results
    scores = {name: result.last["accuracy"] for name, result in results.items()}
    rows = next(iter(results.values())).data["validation_rows"]
    if scores[first] == scores[second]:
        outcome = f"Both strategies reach {scores[first]:.3f}."
    else:
        worse, better = sorted(scores, key=scores.__getitem__)
        points = 100 * (scores[better] - scores[worse])
        outcome = (
            f"Here {better} ({scores[better]:.3f}) is better than {worse} ({scores[worse]:.3f}) "
            f"by {points:.1f} points."
        )
    notes = [f"Guard in {name}: {note}" for name, r in results.items() for note in r.guard]
    error = 100 * (scores[first] * (1 - scores[first]) / rows) ** 0.5
    doubt = (
        f"One seed is one draw of few rows: on {rows:,} rows the standard error of an accuracy is "
        f"{error:.1f} points. Repeat with --seed 1, 2, 3 and compare."
    )
    return "\n".join([outcome, doubt, *notes])


def _print_predictions(out: Path, predictions: dict[str, list[Prediction]]) -> None:
    from headstart.demo import SENTENCES

    rows = [
        (sentence, *(_label_and_probability(of_run[i]) for of_run in predictions.values()))
        for i, sentence in enumerate(SENTENCES)
    ]
    show("", "What the two models say", table(("sentence", *predictions), rows))
    for name in predictions:
        show(f"Saved: {out / name / 'model'}")
    show(f'Try: echo "Invert a matrix." | headstart predict {out / name} --data -')


def _label_and_probability(prediction: Prediction) -> str:
    label = str(prediction.label)
    return f"{label} {prediction.probabilities[label]:.2f}"
