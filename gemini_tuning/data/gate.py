"""The gate that every written variant passes before it may be trained on.

A variant is refused, in this order, when it is empty; when its numbers are not its parent's; when it names another
label that its parent does not name; when rows of another label are clearly closer to it than any of its own label; when
it is a copy of a training row (equal after folding, or above `COPY`) or of an accepted variant; when it is a
near-duplicate (`LEAK` or more) of a validation or test row.

The label checks apply only when outputs are classes. "Clearly closer": similarity of at least `NEIGHBOUR`, and
`FACTOR` times that of the nearest row of its own label, its parent included.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ..types import Dataset, Example
from .augment_report import Reason
from .parts import Parts, label_like
from .similar.fold import fold, key, numbers, plain

COPY = 0.95
LEAK = 0.8
NEIGHBOUR = 0.3
FACTOR = 1.5
_LABEL_CHARACTERS = 3


class Refusal(NamedTuple):
    """Why a variant may not pass, and what it collided with."""

    reason: Reason
    because: str


class Gate:
    """Checks variants one by one; what it accepted counts for the next.

    Args:
        parts: The data; the training rows are what a variant must not copy.
        leak: Similarity from which a variant counts as a validation or test row.
    """

    def __init__(self, parts: Parts, *, leak: float = LEAK) -> None:
        # numpy is loaded only by the work that needs it.
        from .similar.shingles import ShingleIndex

        self._index = ShingleIndex
        self._leak = leak
        self._train = sorted(parts.train, key=lambda example: (example.origin, example.input))
        self._known = {key(example.input): example.input for example in reversed(self._train)}
        self._near_train = ShingleIndex([fold(example.input) for example in self._train])
        self._held_out: list[tuple[Reason, list[Example], ShingleIndex, dict[str, str]]] = []
        held: tuple[tuple[Reason, Dataset], ...] = (
            ("near_duplicate_of_validation", parts.validation),
            ("near_duplicate_of_test", parts.test),
        )
        for reason, part in held:
            rows = list(part)
            index = ShingleIndex([fold(example.input) for example in rows])
            self._held_out.append((reason, rows, index, {key(example.input): example.input for example in rows}))
        self._labels = sorted(parts.train.labels) if label_like(parts.train.examples) else []
        self._accepted: dict[str, str] = {}
        self._siblings: dict[str, list[str]] = {}

    def refuse(self, text: str, parent: Example) -> Refusal | None:
        """The reason against this variant of this example, or None: then it is remembered as accepted."""
        refusal = self._content(text, parent) or self._copies(text, parent)
        if refusal is None:
            self._accepted[key(text)] = text
            self._siblings.setdefault(parent.origin, []).append(text)
        return refusal

    def _content(self, text: str, parent: Example) -> Refusal | None:
        if not fold(text):
            return Refusal("empty", "")
        own, others = numbers(parent.input), numbers(text)
        if sorted(own) != sorted(others):
            return Refusal("number_changed", f"{', '.join(own) or 'no numbers'} -> {', '.join(others) or 'no numbers'}")
        for label in self._labels:
            if label != parent.output and _names(text, label) and not _names(parent.input, label):
                return Refusal("label_changed", label)
        return None

    def _copies(self, text: str, parent: Example) -> Refusal | None:
        folded, own = fold(text), key(text)
        if own in self._known:
            return Refusal("copy", self._known[own])
        for reason, _, _, known in self._held_out:
            if own in known:
                return Refusal(reason, known[own])
        similar = self._near_train.similarities(folded)
        if len(similar):
            best = int(similar.argmax())
            if similar[best] > COPY:
                return Refusal("copy", self._train[best].input)
            if self._labels:
                neighbour = self._other_label(similar.tolist(), parent)
                if neighbour is not None:
                    return Refusal("label_changed", f"{neighbour.output}: {neighbour.input}")
        if own in self._accepted:
            return Refusal("duplicate_variant", self._accepted[own])
        siblings = self._siblings.get(parent.origin, [])
        if siblings:
            to_siblings = self._index([fold(sibling) for sibling in siblings]).similarities(folded)
            if to_siblings.max() > COPY:
                return Refusal("duplicate_variant", siblings[int(to_siblings.argmax())])
        for reason, rows, index, _ in self._held_out:
            if rows:
                held = index.similarities(folded)
                if held.max() >= self._leak:
                    return Refusal(reason, rows[int(held.argmax())].input)
        return None

    def _other_label(self, similar: Sequence[float], parent: Example) -> Example | None:
        """The nearest row of another label, when it is clearly nearer than any of the variant's own label."""
        own, other, nearest = 0.0, 0.0, None
        for similarity, example in zip(similar, self._train, strict=True):
            if example.output == parent.output:
                own = max(own, similarity)
            elif similarity > other:
                other, nearest = similarity, example
        return nearest if other >= NEIGHBOUR and other >= FACTOR * own else None


def _names(text: str, label: str) -> bool:
    """Whether the text holds the label's name verbatim: as whole words, or anywhere in scripts without spaces.

    Case, width and `_` or `-` between words do not matter. Labels of fewer than three characters, two in Chinese, are
    never looked for: "no" and "A" are words of their own.
    """
    name = " ".join(re.split(r"[\s_\-]+", plain(label))).strip()
    dense = any("\u3040" <= char <= "\u9fff" or "\uac00" <= char <= "\ud7a3" for char in name)
    if len(name) < (2 if dense else _LABEL_CHARACTERS):
        return False
    pattern = r"[\s_\-]+".join(re.escape(word) for word in name.split())
    return re.search(pattern if dense else rf"(?<!\w){pattern}(?!\w)", plain(text)) is not None
