"""Ours against the libraries people use, on the same rows in the same run: `python benchmarks/eval_statistics.py`.

Prints seconds of ours (best of three), of the peer, and the ratio. Slow peers run a part of the resamples and are
scaled up, which their cost is linear in; the column says how much was run. Needs the `dev` extra.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from scipy import stats
from sklearn.metrics import f1_score

from gemini_tuning.eval.statistics import (
    macro_f1_difference,
    macro_f1_interval,
    macro_f1_swap,
    paired_interval,
    sign_flip,
)


def best(work: Callable[[], object], times: int = 3) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--resamples", type=int, default=10_000)
    n, resamples = (arguments := parser.parse_args()).rows, arguments.resamples
    rng = np.random.default_rng(0)

    def show(job: str, ours: Callable[[], object], peer: str, theirs: Callable[[], object], part: float) -> None:
        mine, other = best(ours), best(theirs, 1) / part
        print(f"{job:34}{mine:9.4f} s  {peer:28}{other:9.3f} s  ({part:6.1%} run){other / mine:9.0f} x", flush=True)

    def bca(difference: np.ndarray) -> object:
        return stats.bootstrap(
            (difference,), np.mean, n_resamples=resamples, method="BCa", batch=100, rng=np.random.default_rng(0)
        )

    def flip(a: np.ndarray, b: np.ndarray, count: int) -> object:
        return stats.permutation_test(
            (a, b),
            lambda x, y, axis: np.mean(y - x, axis=axis),
            permutation_type="samples",
            n_resamples=count,
            vectorized=True,
            batch=100,
            rng=0,
        )

    print(f"{n:,} rows, {resamples:,} resamples")
    old, new = (rng.random(n) < 0.80).astype(float), (rng.random(n) < 0.83).astype(float)
    show("paired BCa, right/wrong", lambda: paired_interval(old, new, resamples=resamples), "scipy bootstrap(BCa)",
         lambda: bca(new - old), 1)  # fmt: skip
    low, high = rng.integers(1, 6, n).astype(float), rng.integers(1, 6, n).astype(float)
    show("paired BCa, grades 1 to 5", lambda: paired_interval(low, high, resamples=resamples), "scipy bootstrap(BCa)",
         lambda: bca(high - low), 1)  # fmt: skip
    x, y = rng.normal(size=n), rng.normal(0.01, 1, size=n)
    show("paired BCa, continuous", lambda: paired_interval(x, y, resamples=resamples), "scipy bootstrap(BCa)",
         lambda: bca(y - x), 1)  # fmt: skip

    few = max(1, resamples // 20)
    show("sign flip, right/wrong (exact)", lambda: sign_flip(old, new), "scipy permutation_test",
         lambda: flip(old, new, few), few / resamples)  # fmt: skip
    show("sign flip, grades (exact)", lambda: sign_flip(low, high), "scipy permutation_test",
         lambda: flip(low, high, few), few / resamples)  # fmt: skip
    show("sign flip, continuous", lambda: sign_flip(x, y, resamples=resamples), "scipy permutation_test",
         lambda: flip(x, y, few), few / resamples)  # fmt: skip

    loops = max(1, resamples // 200)
    for labels in (10, 77):
        truth = rng.integers(0, labels, n)
        one, two = (np.where(rng.random(n) < share, truth, rng.integers(0, labels, n)) for share in (0.8, 0.83))
        names = [[f"label {at}" for at in side] for side in (one, two, truth)]

        def loop(truth: np.ndarray = truth, one: np.ndarray = one) -> None:
            for _ in range(loops):
                at = rng.integers(0, n, n)
                f1_score(truth[at], one[at], average="macro")

        def swap(truth: np.ndarray = truth, one: np.ndarray = one, two: np.ndarray = two) -> None:
            for _ in range(loops):
                swapped = rng.random(n) < 0.5
                f1_score(truth, np.where(swapped, one, two), average="macro")
                f1_score(truth, np.where(swapped, two, one), average="macro")

        show(f"macro-F1 interval, {labels} labels",
             lambda names=names: macro_f1_interval(names[0], names[2], resamples=resamples), "sklearn f1_score loop",
             loop, loops / resamples)  # fmt: skip
        show(f"macro-F1 difference, {labels} labels",
             lambda names=names: macro_f1_difference(*names, resamples=resamples), "sklearn loop, both sides",
             lambda loop=loop: (loop(), loop()), loops / resamples)  # fmt: skip
        show(f"macro-F1 permutation, {labels} labels",
             lambda names=names: macro_f1_swap(*names, resamples=resamples), "sklearn loop, swapped rows",
             swap, loops / resamples)  # fmt: skip


if __name__ == "__main__":
    main()
