"""Variety: what the examples cover, what is thin, and whether they look like production traffic.

Texts become short vectors of their words and pieces of words (lexical, no meaning), which spherical k-means groups.
"Unlike" is a comparison with the data themselves: a text is far from a set when it is farther from its nearest member
than 95 % of the set's own members are from theirs. By that rule 5 % are far when nothing differs, so a share clearly
above 5 % (lower end of its Wilson interval above 10 %) is a finding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from ...display import counted
from ...errors import PlanError
from ...ledger import digest
from ...types import Dataset, Example, Finding
from ..learning.features import tfidf_sketch
from ..private.finding import find_personal
from ..shares import wilson
from ..similar.fold import fold
from ..similar.shingles import ShingleIndex
from .report import Cluster, Diversity
from .table import Table, finding

Vectors = npt.NDArray[np.float32]

ROWS = 2000
"""Rows that are grouped or compared; more are sampled by their content."""
CLUSTERS = 40
_ROUNDS = 12
FAR = 0.05
FAR_FOUND = 0.10
ALIKE_ROWS, ALIKE, GIANT = 500, 0.5, 0.5
"""Where more than half of 500 rows share half of their character windows (Jaccard) with one row, the data are one
pattern filled in again and again."""
_MIN_ROWS = 50


def diversity(table: Table) -> tuple[Diversity, list[Finding]]:
    """Groups the training inputs, and says when one group is nearly everything."""
    # In the order of their content, which decides where clusters begin.
    texts = sorted(table.inputs[row] for row in table.sample(ROWS, "train"))
    if len(texts) < _MIN_ROWS:
        return Diversity(), []
    vectors = tfidf_sketch(texts)
    k = max(2, min(CLUSTERS, round(math.sqrt(len(texts) / 2))))
    member, similarity, k = _kmeans(vectors, k)
    sizes = np.bincount(member, minlength=k)
    order = [at for at in np.argsort(-sizes, kind="stable").tolist() if sizes[at]]
    clusters = []
    for at in order:
        inside = np.flatnonzero(member == at)
        middle = int(inside[np.argmax(similarity[inside])])
        clusters.append(Cluster(len(inside), round(len(inside) / len(texts), 4), _shown(texts[middle])))
    shares = np.array([cluster.rows for cluster in clusters]) / len(texts)
    average = len(texts) / len(clusters)
    # Far from its middle: below the lower fence of all similarities (Tukey), which even data hardly have.
    low, high = np.percentile(similarity, [25, 75])
    edges = similarity < low - 1.5 * (high - low)
    report = Diversity(
        looked_at=len(texts),
        clusters=tuple(clusters),
        effective=round(float(np.exp(-(shares * np.log(shares)).sum())), 1),
        edge_share=round(float(edges.mean()), 4),
        thin=tuple(cluster for cluster in clusters if cluster.rows < average / 5),
    )
    findings = []
    share, pattern = _one_pattern(table, [cluster.example for cluster in clusters])
    if share > GIANT:
        findings.append(finding(
            "low-diversity", "warning",
            f"{share:.0%} of the training inputs share half of their text with one of them: {pattern[:60]!r}",
            hint="bring examples of what else users ask; .dedup(near=0.8) leaves fewer of one pattern.",
        ))  # fmt: skip
    if report.thin:
        shown = "; ".join(repr(cluster.example[:50]) for cluster in report.thin[:3])
        findings.append(finding(
            "thin-clusters", "note",
            f"{counted(len(report.thin), 'kind')} of input of {len(report.clusters)} with very few rows: {shown}",
            hint="if users ask these, bring more of them.",
            details={"clusters": [msgspec.to_builtins(cluster) for cluster in report.thin[:20]]},
        ))  # fmt: skip
    return report, findings


def _shown(text: str) -> str:
    """A text as an example in a report, which others may read: personal data are named, not shown."""
    text = text[:200]
    for span in reversed(find_personal(text)):
        text = f"{text[: span.start]}<{span.kind}>{text[span.end :]}"
    return text


def _one_pattern(table: Table, middles: Sequence[str]) -> tuple[float, str]:
    """The largest share of rows that are alike with one of these texts, and that text."""
    index = ShingleIndex([fold(table.inputs[row]) for row in table.sample(ALIKE_ROWS, "train")])
    shares = [(float((index.similarities(fold(text)) >= ALIKE).mean()), text) for text in middles]
    return max(shares)


def _kmeans(vectors: Vectors, k: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], int]:
    """Spherical k-means from far-apart starts: cluster of each row, similarity with its middle, number of clusters."""
    centres = vectors[_far_apart(vectors, k)].copy()
    member = np.zeros(len(vectors), np.int64)
    best = np.zeros(len(vectors), np.float32)
    for _ in range(_ROUNDS):
        similarity = vectors @ centres.T
        new = similarity.argmax(axis=1)
        best = similarity[np.arange(len(vectors)), new]
        if (new == member).all():
            break
        member = new
        for at in range(len(centres)):
            middle = vectors[member == at].sum(axis=0)
            length = float(np.linalg.norm(middle))
            if length:
                centres[at] = middle / length
    return member, best, len(centres)


def _far_apart(vectors: Vectors, k: int) -> list[int]:
    """Greedy k-means++ without chance: the row nearest to the middle of all, then random-free far quantiles.

    The farthest row itself is often an outlier, so the next start is the row at the 90th percentile of distance.
    """
    start = int((vectors @ vectors.mean(axis=0)).argmax())
    chosen = [start]
    nearest = vectors @ vectors[start]
    for _ in range(k - 1):
        at = int(np.argpartition(nearest, len(nearest) // 10)[len(nearest) // 10])
        if at in chosen or nearest[at] > 0.999:
            break
        chosen.append(at)
        nearest = np.maximum(nearest, vectors @ vectors[at])
    return chosen


# --- production ----------------------------------------------------------------------------------------------------


def unlike_production(table: Table, production: Sequence[str]) -> list[Finding]:
    """Training rows unlike what users ask, and what users ask that training does not cover."""
    rows = table.sample(ROWS, "train")
    ours = [table.inputs[row] for row in rows]
    asked = sorted(set(production), key=digest)[:ROWS]
    if len(ours) < _MIN_ROWS or len(asked) < _MIN_ROWS:
        few = min(len(ours), len(asked))
        return [finding(
            "production-too-few", "note", f"{few} texts are too few to compare training with production",
            hint=f"{_MIN_ROWS} different ones of each at least.",
        )]  # fmt: skip
    vectors = tfidf_sketch([*ours, *asked])
    train, live = vectors[: len(ours)], vectors[len(ours) :]
    findings = []
    far = _far(live, train)
    low, high = wilson(int(far.sum()), len(far))
    if low > FAR_FOUND:
        shown = [asked[at] for at in np.flatnonzero(far).tolist()]
        findings.append(finding(
            "production-not-covered", "warning",
            f"{far.mean():.0%} [{low:.0%}, {high:.0%}] of {len(asked):,} production texts are unlike any training row "
            f"(5 % is usual), for example {shown[0][:60]!r}",
            hint="label some of them and .extend() the data; by words only: a new topic in familiar words is not seen.",
            details={"texts": [text[:300] for text in shown[:50]]},
        ))  # fmt: skip
    odd = _far(train, live)
    low, high = wilson(int(odd.sum()), len(odd))
    if low > FAR_FOUND:
        unlike: list[Example] = [table.rows[rows[at]] for at in np.flatnonzero(odd).tolist()]
        findings.append(finding(
            "unlike-production", "warning",
            f"{odd.mean():.0%} [{low:.0%}, {high:.0%}] of {len(ours):,} training rows are unlike any production text "
            f"(5 % is usual), for example {unlike[0].input[:60]!r}", unlike,
            hint="train on what users really ask; .filter() what they never do.", field="input",
        ))  # fmt: skip
    return findings


def _nearest(rows: Vectors, others: Vectors, *, same: bool = False) -> npt.NDArray[np.float32]:
    similarity = rows @ others.T
    if same:
        np.fill_diagonal(similarity, -1)
    nearest: npt.NDArray[np.float32] = similarity.max(axis=1)
    return nearest


def _far(rows: Vectors, others: Vectors) -> npt.NDArray[np.bool_]:
    """Which rows are farther from the others than nearly all of the others are from each other."""
    usual = np.quantile(_nearest(others, others, same=True), FAR)
    return np.asarray(_nearest(rows, others) < usual)


def texts_of(production: Dataset | Iterable[str]) -> list[str]:
    """The texts of a sample of production traffic: the inputs of a data set, or the texts themselves."""
    if isinstance(production, Dataset):
        return [example.input for example in production if example.input.strip()]
    texts: list[object] = list(production)
    for text in texts:
        if not isinstance(text, str):
            expected = "a data set, a file, or texts"
            raise PlanError.bad_value("check", "production", [type(text).__name__], expected)
    return [text for text in texts if isinstance(text, str) and text.strip()]
