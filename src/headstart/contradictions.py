"""Checks for settings of a run that contradict one another."""

from __future__ import annotations

from typing import Any

from headstart.errors import ConfigError, HeadstartError


def contradictions(config: Any) -> list[HeadstartError]:
    """Return the contradictions between the settings of a run."""
    faults: list[HeadstartError] = []
    media = {"--text": config.text, "--image": config.image, "--audio": config.audio}
    inputs = [option for option, given in media.items() if given]
    if config.task and inputs:
        fix = "A task brings its own columns; drop one."
        faults.append(ConfigError(f"--task or {inputs[0]}", "both", fix))
    own = {
        "--choices": config.choices, "--span": config.span, "--target": config.target != "auto",
        "--label-columns": config.label_columns, "--label-separator": config.label_separator,
    }  # fmt: skip
    for option in (name for name, given in own.items() if config.task and given):
        fix = f"Drop {option}, or describe the task by --text."
        faults.append(ConfigError(f"--task or {option}", "both", f"A task says it. {fix}"))
    if not config.task and not config.train:
        nobody = ("--task NAME beside --data", "none", "Say whose files they are.")
        nothing = ("--train FILE or --task NAME", "neither", "Say what to train on.")
        faults.append(ConfigError(*(nobody if config.data else nothing)))
    faults += _unused_rows(config)
    faults += _budget_faults(config)
    head = "Drop one, or add --head-part hidden: then only the last map starts anew."
    start, windows = f"--head and --head-init {config.head_init}", config.long_texts == "windows"
    table = (
        (not config.model, "--model", "none", "Give a folder or a hub name."),
        (not config.task and config.train and not inputs, "--text COLUMN, --image or --audio",
         "none", "Name the column that holds the text, the image or the sound."),
        (len(inputs) > 1, "one of --text, --image and --audio", " and ".join(inputs),
         "Keep the one that the model reads."),
        (config.label and config.label_columns, "--label or --label-columns", "both",
         "Drop the one that does not hold the labels."),
        (config.window_overlap is not None and not windows,
         "--long-texts windows beside --window-overlap", "cut",
         "Add --long-texts windows, or drop --window-overlap."),
        (config.epochs and config.total_epochs,
         "--epochs (of fine-tuning) or --total-epochs (of all stages)", "both",
         "Keep the one that you mean."),
        (config.head_part != "all" and not config.head, "--head beside --head-part", "none",
         "Name the head, or drop --head-part."),
        (config.takes_whole_head and config.head_init != "normal", "--head or --head-init", start,
         head),
        (config.resume and config.overwrite, "--resume or --overwrite", "both", "Drop one."),
    )  # fmt: skip
    faults += [ConfigError(*words) for wrong, *words in table if wrong]
    return faults


def _unused_rows(config: Any) -> list[HeadstartError]:
    """Return what is said about rows and would not be looked at."""
    faults: list[HeadstartError] = []
    if config.train and config.data:
        fix = "Drop one: the rows come from a file, or from the folder of a task."
        faults.append(ConfigError("--train or --data", "both", fix))
    if config.validation and not config.train:
        fix = "Name the training rows too, or drop it: a task brings its own validation rows."
        faults.append(ConfigError("--train beside --validation", "none", fix))
    elif config.validation_share and config.held_out_share is None:
        faults.append(
            ConfigError(
                "--validation-share where no validation rows are there already",
                "--validation" if config.validation else "a task, which brings its own",
                "Drop it, or set rows apart all the same by --selection carve.",
            )
        )
    return faults


def _budget_faults(config: Any) -> list[HeadstartError]:
    """Return what is wrong about the budget of time."""
    if config.budget is None:
        return []
    unit = "Write whole numbers with their units, s, m or h: --budget 20m."
    total = "The one counts seconds, the other epochs of all stages. Drop one."
    told = (not config.budget_seconds, "a time above 0 for --budget", repr(config.budget), unit)
    both = (bool(config.total_epochs), "--budget or --total-epochs", "both", total)
    return [ConfigError(*words) for wrong, *words in (told, both) if wrong]
