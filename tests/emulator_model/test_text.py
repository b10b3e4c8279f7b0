"""Tokens and lexical features."""

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from gemini_tuning.emulator import text as lexical

ANY = st.text(alphabet=st.characters())  # lone surrogates included


@given(ANY)
def test_round_trip(text: str) -> None:
    """Tokens join back to exactly the text they came from."""
    assert lexical.decode(lexical.tokens(text)) == text
    assert lexical.count_tokens(text) == len(lexical.tokens(text))


def test_sizes() -> None:
    """A Latin word is one to a few tokens, a CJK character one, a number one for three digits."""
    assert lexical.tokens("card_arrival") == ["card", "_", "arrival"]
    assert lexical.tokens("今天 下雨") == ["今", "天", " ", "下", "雨"]
    assert lexical.tokens("a 12345") == ["a", " 123", "45"]
    assert len(lexical.tokens("internationalisation")) == 4
    assert lexical.count_tokens("") == 0


@given(ANY)
def test_features_any_text(text: str) -> None:
    """Any text has features of 32 bits with positive weights."""
    hashes, weights = lexical.features(text, skips=True)
    assert len(hashes) == len(weights)
    assert all(0 <= hashed < 1 << 32 for hashed in hashes)
    assert all(weight > 0 for weight in weights)


def test_features_do_not_depend_on_the_hash_seed() -> None:
    """Two processes with different PYTHONHASHSEED see the same features and the same tokens."""
    code = (
        "from gemini_tuning.emulator import text as t;"
        "print(t.features('Where is my card? 包裹在哪里'), t.tokens('Where is 包裹'))"
    )
    path = {"PYTHONPATH": ":".join(sys.path), "PYTHONIOENCODING": "utf-8"}
    outs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=path | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
            encoding="utf-8",
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outs) == 1
