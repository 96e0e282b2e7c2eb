"""Fine-tune pretrained encoders from a pretrained head.

The public names load on first use, so that importing the package stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from headstart.imports import without_collection
from headstart.kernels.memory import ask_for_huge_pages

if TYPE_CHECKING:
    from headstart.api import (
        Classifier,
        Prediction,
        evaluate,
        fit,
        load,
        plan,
        pretrain_head,
        probe,
    )
    from headstart.config import FitConfig
    from headstart.errors import HeadstartError
    from headstart.models.headfile import Head
    from headstart.results import RunResult, StageResult
    from headstart.steps.callback import Callback
    from headstart.studies import StudyResult, read_study, run_study

__version__ = "0.1.0"

__all__ = [
    "Callback",
    "Classifier",
    "FitConfig",
    "Head",
    "HeadstartError",
    "Prediction",
    "RunResult",
    "StageResult",
    "StudyResult",
    "evaluate",
    "fit",
    "load",
    "plan",
    "pretrain_head",
    "probe",
    "read_study",
    "run_study",
]

_HOMES = {
    "Classifier": "api",
    "FitConfig": "config",
    "Head": "models.headfile",
    "HeadstartError": "errors",
    "Callback": "steps.callback",
    "Prediction": "api",
    "RunResult": "results",
    "StageResult": "results",
    "StudyResult": "studies",
    "evaluate": "api",
    "fit": "api",
    "load": "api",
    "plan": "api",
    "pretrain_head": "api",
    "probe": "api",
    "read_study": "studies",
    "run_study": "studies",
}


def __getattr__(name: str) -> Any:
    """Import a public name's module when the name is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'headstart' has no attribute {name!r}")
    ask_for_huge_pages()
    with without_collection():
        return getattr(importlib.import_module(f"headstart.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
