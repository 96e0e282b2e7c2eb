"""Looking at a run from inside: at its model before, between and after the stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headstart.config import FitConfig
from headstart.steps.callback import Callback
from headstart.steps.types import TrainingPlan


class Observer(Callback):
    """Hears what a run does and sees its model; measures something about it.

    ``stage_started`` is heard with the tuner attached and the head in place, before the first
    evaluation; ``stage_ended`` after the tuner is gone or merged. What the model held may be
    changed there: the stage goes on with what it then finds.
    """

    plan: TrainingPlan

    def check(self, config: FitConfig) -> None:
        """Refuse a run in which this cannot be measured, before any run of a study starts.

        Args:
            config: Its settings.

        Raises:
            HeadstartError: If it cannot.
        """

    def beside(self, config: FitConfig) -> Sequence[FitConfig]:
        """Say what else is trained for the run, so that its time can be told beforehand.

        Args:
            config: The run's settings.

        Returns:
            Settings of other runs, of which all stages but the last are carried out.
        """
        del config
        return ()

    def begin(self, plan: TrainingPlan) -> None:
        """See the run before anything trains.

        Args:
            plan: Model, rows and plan.
        """
        self.plan = plan

    def end(self) -> dict[str, Any]:
        """See the run after everything has trained.

        Returns:
            What was found, as plain data that JSON gives back as it is.
        """
        return {}
