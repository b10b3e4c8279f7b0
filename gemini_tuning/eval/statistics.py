"""Statistics of scores and of paired comparisons, on numpy alone.

| question | function |
| --- | --- |
| how many of n are right? | `wilson` |
| how good on average (grades, shares)? | `mean_interval` |
| how good over labels? | `macro_f1_interval` |
| right/wrong, before and after, same rows | `mcnemar` (is there a difference?), `paired_binary_interval` (how large?) |
| grades, before and after, same rows | `sign_flip`, `paired_interval` |
| macro-F1, before and after, same rows | `macro_f1_swap`, `macro_f1_difference` |
| what can n rows show; how many rows for an effect? | `minimum_detectable`, `needed_n` |
| several tests at once | `holm` |

Every interval is a `Score`; every difference is after minus before. Resampling is seeded, the seed is in the result,
and no result depends on the order of the rows. Bad values raise PlanError, which is a ValueError.
"""

from __future__ import annotations

from ._macro_f1 import macro_f1_difference, macro_f1_interval, macro_f1_swap
from ._means import mean_interval, paired_interval, sign_flip
from ._power import holm, minimum_detectable, needed_n
from ._proportions import mcnemar, paired_binary_interval, wilson
from .score import Score

__all__ = [
    "Score",
    "holm",
    "macro_f1_difference",
    "macro_f1_interval",
    "macro_f1_swap",
    "mcnemar",
    "mean_interval",
    "minimum_detectable",
    "needed_n",
    "paired_binary_interval",
    "paired_interval",
    "sign_flip",
    "wilson",
]
