"""Wrong labels found, against cleanlab: planted noise in real data sets.

    PYTHONPATH=. python benchmarks/label_errors.py DATA [--seeds 3]

DATA is a folder with `intent_banking77`, `intent_zh_xsid` and `sentiment_en_food_reviews`. Needs cleanlab and
scikit-learn, which the library does not: install them beside it.

A share of the labels is changed: to any other class, or to one of the two classes whose texts are most alike. The table
has the share of changed labels among the first k of each order, k being the number changed:

- ours: the order of `label_suspects`, full and quick;
- cleanlab on ours: cleanlab's orders of the same held-out probabilities, by self-confidence (its default) and by
  normalized margin; for each, all rows / the rows of `find_label_issues` first;
- cleanlab + LR: the same with scikit-learn's logistic regression on the same sparse features.

`listed` is how many rows `label_suspects` itself would show, `right` the share of changed labels among them,
`conf.` how many confident learning counts.
Labels that were wrong before count against everybody: the data sets have some.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from gemini_tuning.data.learning.features import hashed
from gemini_tuning.data.learning.label_errors import TEXTS_PER_CLASS, Unusable, held_out, label_suspects

warnings.filterwarnings("ignore")
SETS = {
    "banking77": ("intent_banking77/train.jsonl.gz", "text", "intent"),
    "xsid zh": ("intent_zh_xsid/zh.jsonl", "text", "intent"),
    "food reviews": ("sentiment_en_food_reviews/reviews.jsonl.gz", "text", "label"),
}


def load(path: Path, text: str, label: str) -> tuple[list[str], list[str]]:
    lines = (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8")
    rows = [json.loads(line) for line in lines]
    counts = Counter(row[label] for row in rows)
    rows = [row for row in rows if counts[row[label]] >= 2 * TEXTS_PER_CLASS]
    return [row[text] for row in rows], [row[label] for row in rows]


def planted(texts: list[str], labels: list[str], kind: str, rate: float, seed: int) -> tuple[list[str], np.ndarray]:
    random = np.random.default_rng(seed)
    names = sorted(set(labels))
    wrong = np.zeros(len(labels), bool)
    wrong[random.choice(len(labels), round(rate * len(labels)), replace=False)] = True
    matrix = sparse(texts)
    means = np.stack([np.asarray(matrix[[x == name for x in labels]].mean(axis=0)).ravel() for name in names])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    alike = means @ means.T
    np.fill_diagonal(alike, -1)
    near = np.argsort(-alike, axis=1)[:, : min(2, len(names) - 1)]
    changed = []
    for label, bad in zip(labels, wrong, strict=True):
        at = names.index(label)
        if bad and kind == "any":
            at = (at + random.integers(1, len(names))) % len(names)
        elif bad:
            at = random.choice(near[at])
        changed.append(names[at])
    return changed, wrong


def sparse(texts: list[str]) -> csr_matrix:
    features = hashed(texts)
    matrix = csr_matrix((features.values, features.indices, features.indptr), shape=(len(texts), features.buckets))
    return matrix[:, np.flatnonzero(matrix.getnnz(axis=0))]


def cleanlab(labels: np.ndarray, probabilities: np.ndarray, wrong: np.ndarray) -> str:
    """Of cleanlab's two usual orders: its default (self-confidence), and normalized margin."""
    k = int(wrong.sum())
    found = []
    for method in ("self_confidence", "normalized_margin"):
        listed = find_label_issues(labels, probabilities, return_indices_ranked_by=method, n_jobs=1)
        quality = get_label_quality_scores(labels, probabilities, method=method)
        order = np.argsort(quality, kind="stable")
        rest = order[~np.isin(order, listed)]
        found.append((wrong[order[:k]].mean(), wrong[np.concatenate([listed, rest])[:k]].mean()))
    return " ".join(f"{all_rows:.3f}/{issues_first:.3f}" for all_rows, issues_first in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=0.05)
    arguments = parser.parse_args()
    print(
        f"{'data':13}{'noise':7}{'planted':>8}{'ours':>7}{'quick':>7}  {'cleanlab on ours':25}{'cleanlab + LR':25}"
        f"{'listed':>7}{'right':>7}{'conf.':>7}{'estimate':>22}{'full s':>8}{'quick s':>8}{'LR s':>8}"
    )
    for name, (path, text, label) in SETS.items():
        texts, clean = load(arguments.data / path, text, label)
        result = label_suspects(texts, clean)
        print(
            f"{name:13}{'none':7}{0:8}{'':66}{len(result.suspects):7,}{'':7}{result.confident:7,}{noise(result.noise):>22}",
            flush=True,
        )
        for kind in ("any", "alike"):
            for seed in range(arguments.seeds):
                labels, wrong = planted(texts, clean, kind, arguments.rate, seed)
                k = int(wrong.sum())
                start = time.perf_counter()
                full = label_suspects(texts, labels, seed=seed)
                middle = time.perf_counter()
                quick = label_suspects(texts, labels, seed=seed, quick=True)
                end = time.perf_counter()
                held = held_out(texts, labels, seed=seed)
                assert not isinstance(held, Unusable)
                same = cleanlab(held.labels, held.probabilities.astype(float), wrong[held.rows])
                before = time.perf_counter()
                matrix = sparse(texts)[held.rows]
                theirs = np.zeros_like(held.probabilities, dtype=float)
                for fold in range(5):
                    inside = held.folds == fold
                    model = LogisticRegression(C=3, max_iter=60).fit(matrix[~inside], held.labels[~inside])
                    theirs[inside] = model.predict_proba(matrix[inside])
                after = time.perf_counter()
                other = cleanlab(held.labels, theirs, wrong[held.rows])
                right = np.mean([wrong[each.row] for each in full.suspects]) if full.suspects else np.nan
                print(
                    f"{name:13}{kind:7}{k:8,}{wrong[full.order[:k]].mean():7.3f}{wrong[quick.order[:k]].mean():7.3f}"
                    f"  {same:25}{other:25}{len(full.suspects):7,}{right:7.3f}{full.confident:7,}"
                    f"{noise(full.noise):>22}{middle - start:8.2f}{end - middle:8.2f}{after - before:8.2f}",
                    flush=True,
                )


def noise(estimate: tuple[float, ...] | None) -> str:
    return "-" if estimate is None else f"{estimate[0]:.1%} ({estimate[1]:.1%}-{estimate[2]:.1%})"


if __name__ == "__main__":
    main()
