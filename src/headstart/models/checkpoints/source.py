"""Names of models: a folder, a run, or a name on the hub."""

from __future__ import annotations

import contextlib
import difflib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import transformers
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

from headstart.errors import ModelError
from headstart.files.home import at_home, path_of
from headstart.models.checkpoints.folders import PARTIAL, recover, require_finished

CONFIG = "config.json"
ADAPTER = "adapter_config.json"
"""What peft writes beside an adapter. Where it lies beside a whole model, transformers would load
the adapter's base model in that one's place."""
_PEFT_CLASSES = {
    "CAUSAL_LM": "ForCausalLM",
    "FEATURE_EXTRACTION": "ForFeatureExtraction",
    "SEQ_CLS": "ForSequenceClassification",
}
PATIENCE = 10.0
"""Seconds for the hub's answer to whether it has a model."""


def find_model(source: str) -> str:
    """Resolve what the user calls a model: a run's folder means the model inside it.

    ``~`` is the home folder.
    """
    name = at_home(source)
    inside = Path(name) / "model"
    is_run = (inside / CONFIG).is_file() and not (Path(name) / CONFIG).is_file()
    return str(inside) if name and is_run else name


def locate(source: str) -> str:
    """Resolve what the user calls a model, and make sure that it is there.

    A folder with config.json, or the name of a model that the hub has. A model in the hub's local
    cache is its folder there, should the hub not answer. Raises ``HeadstartError`` if there is no
    such model; with the nearest names, at once.
    """
    recover(path_of(source))
    name = find_model(source)
    path = Path(name)
    if path.is_file():
        raise _is_a_file(path)
    if name and path.is_dir():
        if (path / ADAPTER).is_file():
            raise _is_adapter(str(path), path / ADAPTER)
        if not (path / CONFIG).is_file():
            require_finished(path)
            raise _no_config(path)
        return name
    require_finished(path)
    if _is_path(name):
        raise ModelError(
            "a model folder, or the name of a model on the hub",
            f"{name or 'an empty name'}, which does not exist",
            f"Check the spelling. {_near(path)}".rstrip(),
        )
    return _on_hub(name)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the load report, progress bars and retries of the libraries silent inside a block.

    Headstart itself says what a checkpoint does not provide, and what could not be loaded. Inside
    another such block nothing is done: each change of a level makes Python go through all loggers.
    """
    log, hub = transformers.utils.logging, huggingface_hub.logging
    if _silent(log, hub):
        yield
        return
    level, hub_level = log.get_verbosity(), hub.get_verbosity()
    bars = log.is_progress_bar_enabled()
    log.set_verbosity_error()
    hub.set_verbosity(logging.ERROR)
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        hub.set_verbosity(hub_level)
        if bars:
            log.enable_progress_bar()


def _silent(log: Any, hub: Any) -> bool:
    levels = (log.get_verbosity(), hub.get_verbosity())
    return min(levels) >= logging.ERROR and not log.is_progress_bar_enabled()


def short(error: BaseException) -> str:
    """Return the beginning of an error's text on one line.

    At most 200 characters, without the full stop; the error's type if it has no text.
    """
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__


def _is_path(name: str) -> bool:
    """Return whether a name can only be a path: hub names are ``name`` or ``owner/name``."""
    separators = tuple(filter(None, (os.sep, os.altsep)))
    return (
        not name
        or name.startswith((".", "~", *separators))
        or name.endswith(separators)
        or name.count("/") > 1
        or (os.sep != "/" and os.sep in name)
    )


def _near(path: Path) -> str:
    """Suggest folders that differ from a path in the first part that does not exist."""
    missing = path
    while not missing.parent.is_dir():
        missing = missing.parent
    try:
        names = [entry.name for entry in missing.parent.iterdir() if entry.is_dir()]
    except OSError:  # a folder that may not be listed suggests nothing
        return ""
    folded = {name.lower(): name for name in names if not name.endswith(PARTIAL)}
    close = difflib.get_close_matches(missing.name.lower(), folded, n=3)
    found = [missing.with_name(folded[name]) / path.relative_to(missing) for name in close]
    told = " or ".join(repr(str(folder)) for folder in found if folder.is_dir())
    return f"Did you mean {told}?" if told else ""


def _is_a_file(path: Path) -> ModelError:
    inside = (path.parent / CONFIG).is_file()
    return ModelError(
        "a model's folder",
        f"the file {path}",
        f"Give its folder: {path.parent}"
        if inside
        else f"Give a folder with {CONFIG} and model.safetensors, or a name on the hub.",
    )


def _is_adapter(source: str, file: str | Path | None) -> ModelError:
    """Make the error for an adapter, with the model that it is for where that is known."""
    try:
        record = json.loads(Path(file or "").read_text(encoding="utf-8"))
        base, kind = record["base_model_name_or_path"], record.get("task_type")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        base = kind = None
    named = isinstance(base, str) and base
    give = f"Give the base model, {base!r}" if named else "Give the base model it was trained on"
    return ModelError(
        "a whole model",
        f"{source}, which holds a peft adapter" + (f" for {base}" if named else ""),
        f"{give}; or merge the two first: in Python "
        f"peft.AutoPeftModel{_PEFT_CLASSES.get(str(kind), '')}.from_pretrained({source!r})"
        ".merge_and_unload()"
        ".save_pretrained(FOLDER), and give that folder.",
    )


def _no_config(path: Path) -> ModelError:
    expected = f"a model folder with {CONFIG}"
    if (path / "head.json").is_file():
        return ModelError(
            expected,
            f"the head folder {path}",
            "A head alone is no model: give the run or model that it came from. `headstart fit` "
            f"takes it as --head {path}, beside its backbone as --model.",
        )
    inside = sorted(str(entry) for entry in path.iterdir() if _is_model(entry))
    told = f" Inside it are {', '.join(inside[:3])}{' …' if len(inside) > 3 else ''}."
    return ModelError(
        expected,
        f"{path} without it",
        f"Give the folder that save_pretrained wrote.{told if inside else ''}",
    )


def _is_model(folder: Path) -> bool:
    return (Path(find_model(str(folder))) / CONFIG).is_file()


def _on_hub(name: str) -> str:
    """Ask the hub once for a model; the libraries themselves ask for half a minute."""
    cached = adapter = None
    near = f" {_near(Path(name))}".rstrip()
    try:
        cached = huggingface_hub.try_to_load_from_cache(name, CONFIG)
        adapter = huggingface_hub.try_to_load_from_cache(name, ADAPTER)
        files = huggingface_hub.HfApi().model_info(name, timeout=PATIENCE).siblings or ()
    except HFValidationError:
        reason = "no folder, and no name that a model on the hub can have"
    except RepositoryNotFoundError:
        reason = "no folder, and the hub has no such model that you may see"
    # The HTTP library below the hub's client, and so its errors, changes with its version.
    except Exception as error:  # noqa: BLE001
        reason = f"no folder, not in the local cache, and the hub does not answer ({short(error)})"
    else:
        if any(file.rfilename == ADAPTER for file in files):
            raise _is_adapter(name, _from_hub(name, ADAPTER))
        return name
    if isinstance(adapter, str):
        raise _is_adapter(name, adapter)
    if isinstance(cached, str):
        return str(Path(cached).parent)
    raise ModelError(
        "a model folder, or the name of a model that the hub or its local cache has",
        f"{name}: {reason}",
        f"Check the spelling and, for a hub name, the connection.{near}",
    ) from None


def _from_hub(name: str, file: str) -> str | None:
    """Fetch a small file of a model that the hub has; ``None`` if that fails."""
    try:
        return huggingface_hub.hf_hub_download(name, file, etag_timeout=PATIENCE)
    except Exception:  # noqa: BLE001  the errors of the HTTP library below change with its version
        return None
