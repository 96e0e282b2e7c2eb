"""Command decorator, and the parser's errors turned into headstart's own."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand

from headstart.cli.shared.console import HELP_NAMES, examples
from headstart.errors import ConfigError, HeadstartError, raise_all
from headstart.errors import did_you_mean as suggest

Function = TypeVar("Function", bound=Callable[..., Any])
# typer brings its own copy of click or uses the installed one, depending on its version.
UsageError: Any = typer.BadParameter.__base__
_UNFIT = re.compile(r"Invalid value for '?(.+?)'?: (?:.+ is not|Input should be) (.+)")


class Command(TyperCommand):
    """A command that refuses what the parser would pass over: options given twice."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Check the words, then read them.

        Raises ``HeadstartError`` for every option that stands twice, or else for every word too
        many.
        """
        flags = {o: p for p in self.params if getattr(p, "is_flag", False) for o in _names(p)}
        raise_all(
            _flag_with_value(flags[name], name, word)
            for word in args
            if (name := word.partition("=")[0]) in flags and "=" in word
        )
        _, rest, given = self.make_parser(ctx).parse_args(list(args))
        raise_all(
            _repeated(param)
            for param in dict.fromkeys(given)
            if given.count(param) > 1 and not (param.multiple or param.nargs == -1)
        )
        raise_all(_too_many(ctx.command_path, args, rest, flags))
        return super().parse_args(ctx, args)


def command(
    app: typer.Typer, *worked: str, epilog: str | None = None
) -> Callable[[Function], Function]:
    """Return a decorator that makes a function one of the commands of an app.

    ``worked`` are whole command lines, shown at the end of the help page; ``epilog`` is shown there
    instead, in rich's markup.
    """
    told = examples(*worked) if worked else epilog
    return app.command(cls=Command, context_settings=HELP_NAMES, epilog=told)


def explain_usage(error: Any, words: Sequence[str]) -> HeadstartError:
    """Turn an error of the parser into one of ours."""
    context: Any = error.ctx
    command = context.command_path if context else f"headstart {words[0]}"
    help_page = f"See `{command} --help`."
    message, kind = error.format_message().rstrip("."), type(error).__name__
    name = message.split("'")[1] if "'" in message else ""
    if kind == "NoSuchOption" and context:
        option = str(error.option_name)
        near = difflib.get_close_matches(option, _options(context.command), n=2)
        fix = suggest(option, near) if near else help_page
        return ConfigError(f"an option of `{command}`", repr(option), fix)
    group = context and hasattr(context.command, "list_commands")
    commands = context.command.list_commands(context) if group else None
    if commands and ("o such command" in message or "issing command" in message):
        words = [*getattr(context, "_protected_args", ()), *context.args]
        found = name or " ".join(words)
        known = suggest(found, commands)
        return ConfigError(f"a command of `{command}`", repr(found) if found else "none", known)
    if kind == "MissingParameter":
        return ConfigError(f"{name} for `{command}`", "none", help_page)
    if "requires" in message:
        return ConfigError(f"a value behind {name}", "none", help_page)
    if unfit := _UNFIT.fullmatch(message):
        given = [value for word, value in pairwise(words) if word == unfit[1]]
        found = repr(given[0]) if given else "another value"
        return ConfigError(f"{unfit[1]} to be {unfit[2]}", found, help_page)
    return ConfigError(f"options as `{command}` takes them", f"this: {message}", help_page)


def _options(command: Any) -> list[str]:
    shown = (param for param in command.params if not getattr(param, "hidden", False))
    return [option for param in shown for option in _names(param)]


def _names(param: Any) -> tuple[str, ...]:
    return (*param.opts, *param.secondary_opts)


def _repeated(param: Any) -> ConfigError:
    return ConfigError(
        f"{' or '.join(_names(param))} once",
        "several",
        "It takes one value; keep the one that you mean.",
    )


def _too_many(
    command: str, args: list[str], rest: list[str], flags: dict[str, Any]
) -> Iterator[ConfigError]:
    after = {value: name for name, value in pairwise(args) if name in flags}
    for word in rest:
        if word in after:
            name = after[word]
            yield _flag_with_value(flags[name], name, f"{name} {word}")
        else:
            yield ConfigError(
                f"no further words behind `{command}`",
                repr(word),
                "An option takes one value; put it in quotes if it holds spaces.",
            )


def _flag_with_value(param: Any, name: str, found: str) -> ConfigError:
    off = f"turn it off by {param.secondary_opts[0]}" if param.secondary_opts else "leave it out"
    return ConfigError(
        f"{name} without a value", repr(found), f"Turn it on by {param.opts[0]}, or {off}."
    )
