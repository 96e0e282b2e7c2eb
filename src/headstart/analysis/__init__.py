"""Questions about what training does to a model, each answered by a study of its own and a page.

::

    variants    what is compared: strategies, and what an observer measures in their runs
    runs        carried out and kept like those of any study: resumed, shared, on Ray
    findings    what the runs say: sentences, tables, figures

One file is one analysis; ``headstart analyze NAME`` carries it out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.plugins.registry import Registry

if TYPE_CHECKING:
    from headstart.analysis._base import Analysis

ANALYSES: Registry[Analysis] = Registry("analysis", "headstart.analysis", "ANALYSIS")
