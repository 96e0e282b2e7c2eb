"""Runs whose stage 1 did not learn: what they show is plain fine-tuning under another name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headstart.analysis._base import Case
from headstart.report.curves import kept


def without_head(named: Sequence[tuple[str, Case]]) -> Iterator[str]:
    """Describe the runs that began their last stage from a fresh head."""
    for name, case in named:
        for side in case.sides:
            lost = sorted(
                s for s, r in side.runs.items() if len(kept(r)) == 1 < len(r.result.stages)
            )
            if lost:
                listed = f"seed{'s' * (len(lost) > 1)} {', '.join(map(str, lost))}"
                yield (
                    f"{name}: in {len(lost)} of {len(side.runs)} runs of {side.variant.name} "
                    f"({listed}) stage 1 did not learn, so that stage 2 began from a fresh head: "
                    "what they show is plain fine-tuning. More steps or another rate of stage 1 "
                    "may help; --set guard=false goes on with the head as it is."
                )
