"""``headstart demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headstart.cli.shared.console import is_main_process, output, show, table
from headstart.cli.shared.usage import command
from headstart.demo import STRATEGIES, TOTAL_EPOCHS, TRAIN_ROWS

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
        Path, typer.Option("--out", metavar="DIR", help="Folder for rows and runs.")
    ] = Path("runs/demo"),
    seed: Annotated[int, typer.Option("--seed", help="Seed of both runs.")] = 0,
    rows: Annotated[int, typer.Option("--rows", help="Training rows.")] = TRAIN_ROWS,
    epochs: Annotated[
        float, typer.Option("--epochs", min=0.1, help="Epochs of all stages together.")
    ] = TOTAL_EPOCHS,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export", metavar="DIR", help="Only write train.csv and validation.csv, and stop."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the runs and rows that are there.")
    ] = False,
) -> None:
    """Compare plain fine-tuning and EH-FT on the same rows and the same number of steps.

    A small sentence encoder and film reviews, both from Python packages; a few minutes on two
    cores, without network.
    """
    from headstart.cli.shared.display import display
    from headstart.demo import classify, run_demo, sample_rows, write_rows

    if export is not None:
        train, validation = write_rows(export, *sample_rows(rows), overwrite=overwrite)
        show(f"{train} and {validation}")
        return
    console = output()

    def listen(name: str) -> AbstractContextManager[Callback]:
        console.rule(f"{name}: {STRATEGIES[name]}")
        return display(console)

    results = run_demo(out, listen, seed=seed, rows=rows, epochs=epochs, overwrite=overwrite)
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
    scores = {name: result.last["accuracy"] for name, result in results.items()}
    plain, ours = scores["ft"], scores["eh-ft"]
    rows = next(iter(results.values())).data["validation_rows"]
    if ours == plain:
        outcome = f"Both strategies reach {ours:.3f}."
    else:
        better, worse = ("eh-ft", "ft") if ours > plain else ("ft", "eh-ft")
        points = 100 * (scores[better] - scores[worse])
        outcome = (
            f"Here {better} ({scores[better]:.3f}) is better than {worse} ({scores[worse]:.3f}) "
            f"by {points:.1f} points."
        )
    notes = [f"Guard in {name}: {note}" for name, r in results.items() for note in r.guard]
    error = 100 * (plain * (1 - plain) / rows) ** 0.5
    doubt = (
        f"One seed proves nothing: on {rows:,} rows the standard error of an accuracy is "
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
    show(f'Try: echo "A fine film." | headstart predict {out / "eh-ft"} --data -')


def _label_and_probability(prediction: Prediction) -> str:
    label = str(prediction.label)
    return f"{label} {prediction.probabilities[label]:.2f}"
