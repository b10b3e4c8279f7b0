"""The tokens that an adapter can say, and those of them that a prompt offers for copying."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from . import text as lexical
from .arrays import Ints
from .values import Prompt

__all__ = ["END", "NO_IDS", "REST", "Copying", "Known"]

REST, END = 0, 1
"""Ids of the two that are no tokens: anything that is not in the vocabulary, and the end of the answer."""

NO_IDS = np.zeros(0, np.int32)
_LIMIT = 6000
_ENDS = frozenset(("", ",", ";", "、", "，", "；", "。", "."))
"""What an item of a list ends with in a prompt; where it stands, a copied answer may end."""


class Known:
    """The vocabulary: ids of tokens, and spelling of tokens that are not in it."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.vocabulary = tuple(vocabulary)
        self.index = {token: i for i, token in enumerate(self.vocabulary) if i > END}
        self._bare: dict[str, list[int]] = {}
        for token, i in self.index.items():
            self._bare.setdefault(_bare(token), []).append(i)

    @classmethod
    def of(cls, targets: Sequence[str], earlier: Sequence[str] = ()) -> Known:
        """The tokens of the targets, most frequent first, after those of an `earlier` vocabulary.

        Above _LIMIT rare tokens are spelled in characters instead.
        """
        counts = Counter(token for target in targets for token in lexical.tokens(target))
        ordered = sorted(counts, key=lambda token: (-counts[token], token))
        start = list(earlier) or ["<rest>", "<end>"]
        have = set(start[2:])
        fresh = [token for token in ordered if token not in have]
        room = max(0, _LIMIT - len(start))
        if len(fresh) > room:
            letters = Counter(letter for token in fresh for letter in token)
            alphabet = [letter for letter, _ in letters.most_common(room // 2) if letter not in have]
            fresh = (alphabet + [token for token in fresh if token not in set(alphabet)])[:room]
        return cls([*start, *fresh])

    def spell(self, target: str) -> list[tuple[str, int]]:
        """(token, id) of a target; a token that can be neither found nor spelled is REST."""
        spelled: list[tuple[str, int]] = []
        for token in lexical.tokens(target):
            if token in self.index:
                spelled.append((token, self.index[token]))
            elif all(letter in self.index for letter in token):
                spelled.extend((letter, self.index[letter]) for letter in token)
            else:
                spelled.append((token, REST))
        return spelled

    def ids(self, bare: Sequence[str]) -> Ints:
        """Distinct ids of the tokens whose text without case and blanks is among `bare`, with END for any of _ENDS."""
        found = {i for token in bare for i in self._bare.get(token, ())}
        if any(token in _ENDS for token in bare):
            found.add(END)
        return np.array(sorted(found), np.int32)


class Copying:
    """Which known tokens the prompt offers for copying, and which of them follow which."""

    def __init__(self, prompt: Prompt, known: Known) -> None:
        parts = [_sequence(part) for part in (prompt.user, prompt.system, prompt.history)]
        self.user = known.ids(parts[0][0])
        self.other = known.ids((*parts[1][0], *parts[2][0]))
        self._after = [after for _, after in parts]
        self._known = known

    def following(self, token: str) -> Ints:
        """Ids of the known tokens that come after `token` in the prompt."""
        bare = _bare(token)
        if not bare:
            return NO_IDS
        return self._known.ids([right for after in self._after for right in after.get(bare, ())])


@lru_cache(maxsize=128)
def _sequence(text: str) -> tuple[tuple[str, ...], Mapping[str, frozenset[str]]]:
    """The tokens of a text without case and blanks, and for each those that come after it ("" is the end)."""
    shown = tuple(bare for token in lexical.tokens(text) if (bare := _bare(token)))
    after: dict[str, set[str]] = {}
    for left, right in zip(shown, (*shown[1:], ""), strict=False):
        after.setdefault(left, set()).add(right)
    return shown, {token: frozenset(following) for token, following in after.items()}


def _bare(token: str) -> str:
    return token.strip().lower()
