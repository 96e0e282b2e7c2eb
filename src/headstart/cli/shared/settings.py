"""Options of ``headstart fit``, made from the fields of ``FitConfig``, and back to settings."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import Field
from pydantic.fields import FieldInfo

from headstart.cli.shared.console import escape_markup
from headstart.config import FitConfig
from headstart.configfile import TRUST, read_assignments, read_settings, without_trust
from headstart.errors import ConfigError, raise_all
from headstart.study.fields import AXES_OF, NOT_IN_A_STUDY

COMMAND_LINE_ONLY = ("config", "set", "help", "debug")
"""Options of ``headstart fit`` that make no sense in a settings file."""
STUDYS_OWN = ("out", "model", "task", "train_rows", "threads")
"""Settings of a run by whose name ``headstart study run`` has an option written out."""
OF_ALL_RUNS = tuple(name for name in FitConfig.model_fields if name not in STUDYS_OWN)
"""The other ones, whose options ``with_settings_of_runs`` makes."""
_OF_A_STUDY = {
    "data": "Folder with the task's files; of several tasks, one below each.",
    "selection": "Rows that choose the state or the length: the validation rows, which flatters "
    "their score, or some carved from training, so that nothing has looked at the rows of the "
    "score (nested evaluation).",
}
"""Help of options that mean more in a study than in a run."""
_KINDS = {int: "INTEGER", float: "NUMBER", Path: "PATH", str: "TEXT"}


class FitCommand(FitConfig):
    """The settings of a run, and what the command line alone does with them."""

    dry_run: bool = Field(
        default=False,
        description="Print the plan and stop; nothing is trained or written.",
        json_schema_extra={"panel": "Settings"},
    )
    quiet: bool = Field(
        default=False,
        description="Print only warnings and the last line.",
        json_schema_extra={"panel": "Output"},
    )

    @property
    def run(self) -> FitConfig:
        """The settings of the run."""
        return FitConfig(**self.model_dump(exclude={"dry_run", "quiet"}))


def with_settings(function: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each field of ``FitCommand`` to a command that ends in ``**options``.

    Values stay text here: ``FitCommand.build`` reads them, so that all faults are told together and
    in one way, wherever a setting was given.
    """
    options = [_parameter(name, field) for name, field in FitCommand.model_fields.items()]
    return _signed(function, [*options, *_fixed(function)])


def with_settings_of_runs(function: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each of ``OF_ALL_RUNS`` to a study's command that ends in ``**settings``.

    Those that no study takes are options too, but hidden: given, they are refused with the reason,
    where an unknown option would be taken for a slip of the pen.
    """
    refused = {*NOT_IN_A_STUDY, *AXES_OF}
    options = [
        _parameter(
            name,
            FitConfig.model_fields[name],
            hidden=name in refused,
            text=_OF_A_STUDY.get(name, ""),
            default="last" if name == "select" else "",
        )
        for name in OF_ALL_RUNS
    ]
    return _signed(function, [*_fixed(function), *options])


def with_some_settings(
    *names: str,
    defaults: Mapping[str, str] | None = None,
    texts: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add an option for each of some settings to a command.

    Names are of fields of ``FitConfig``, the command's last parameter is ``**settings``.
    ``defaults`` say in words what holds where an option is not given, ``texts`` are help where that
    of ``headstart fit`` says too much.
    """
    ends, own = defaults or {}, texts or {}
    options = [
        _parameter(n, FitConfig.model_fields[n], default=ends.get(n, ""), text=own.get(n, ""))
        for n in names
    ]
    return lambda function: _signed(function, [*_fixed(function), *options])


def _fixed(function: Callable[..., None]) -> list[inspect.Parameter]:
    own = inspect.signature(function, eval_str=True).parameters.values()
    return [p for p in own if p.kind is not inspect.Parameter.VAR_KEYWORD]


def _signed(
    function: Callable[..., None], parameters: Sequence[inspect.Parameter]
) -> Callable[..., None]:
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return function


def given_ones(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given; the others are ``None`` or empty."""
    return {name: value for name, value in options.items() if value not in (None, [], ())}


def gather(
    config: Path | None, assignments: Sequence[str], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Merge settings: those saved for ``--resume``, the file, ``--set``, options; the last wins.

    Raises ``HeadstartError`` if the file holds what belongs on the command line, or asks to trust
    code that comes with a model and the command line does not confirm it.
    """
    given = given_ones(options)
    asked = read_settings(config) if config else {}
    raise_all(
        ConfigError(
            f"settings of a run in {config}",
            repr(name),
            f"--{name} belongs on the command line; write the settings themselves.",
        )
        for name in COMMAND_LINE_ONLY
        if name in asked
    )
    own = {**read_assignments(list(assignments)), **given}
    asked = without_trust(asked, config, said=TRUST in own) | own
    asked = {name.replace("-", "_"): value for name, value in asked.items()}
    if asked.get("resume") in (True, "true") and asked.get("out"):
        from headstart.steps.output.folder import interrupted_settings

        said, look = TRUST in own, bool(asked.get("dry_run"))
        before = interrupted_settings(Path(str(asked["out"])), said=said, look=look)
        return {**before, **asked}
    return asked


def require_folder(settings: Mapping[str, Any]) -> None:
    """Refuse ``--resume`` alone.

    Raises ``ConfigError`` if neither a folder is named nor the whole command, from which it
    follows.
    """
    if settings.get("resume") and not settings.get("out") and not settings.get("model"):
        raise ConfigError("--out FOLDER beside --resume", "none", _unfinished_runs())


def _unfinished_runs() -> str:
    from headstart.models.checkpoints.folders import PARTIAL
    from headstart.steps.output.folder import SETTINGS

    found = sorted(Path().glob(f"runs/*{PARTIAL}/{SETTINGS}"))
    if not found:
        return "Name the folder of the run that was interrupted."
    names = ", ".join(str(path.parent).removesuffix(PARTIAL) for path in found)
    return f"Unfinished runs here: {names}."


def _parameter(
    name: str, field: FieldInfo, *, hidden: bool = False, default: str = "", text: str = ""
) -> inspect.Parameter:
    kind, text = _without_none(field.annotation), text or field.description or ""
    own = text.partition(" Default:")[0] + f" Default: {default}."
    extra = field.json_schema_extra
    word = name.replace("_", "-")
    several = typing.get_origin(kind) is tuple
    about: dict[str, Any] = {
        "help": escape_markup(own if default else text + _default(name, field.default)),
        "rich_help_panel": str(extra["panel"]) if isinstance(extra, dict) else None,
        "show_default": False,
        "hidden": hidden,
    }
    if kind is bool:
        value: Any = bool | None
        option = typer.Option(f"--{word}/--no-{word}", **about)
    else:
        value = list[str] | None if several else str | None
        option = typer.Option(f"--{word}", metavar=_metavar(kind), **about)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[value, option]
    )


def _without_none(annotation: Any) -> Any:
    kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
    optional = len(kinds) == 1 and typing.get_origin(annotation) not in (tuple, Literal)
    return kinds[0] if optional else annotation


def _metavar(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return f"[{'|'.join(typing.get_args(kind))}]"
    return _KINDS.get(kind, "TEXT")


def _default(name: str, value: Any) -> str:
    if value is None or value is False or value in ("", ()):
        return ""
    word = name.replace("_", "-") if value is True else value
    return f" [default: {word}]"
