"""The preset table and the model table, row by row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_tuning.errors import ConfigError, PlanError
from gemini_tuning.models import RETIRED, find, models
from gemini_tuning.recipes import presets, recommend


@pytest.mark.parametrize(
    ("model", "examples", "settings"),
    [
        ("gemini-2.5-pro", 0, (20, 10, 4)),
        ("gemini-2.5-pro", 999, (20, 10, 4)),
        ("gemini-2.5-pro", 1000, (10, None, 4)),
        ("gemini-2.5-flash", 999, (None, 10, 4)),
        ("gemini-2.5-flash", 1000, (None, None, 8)),
        ("gemini-2.5-flash", 10_000_000, (None, None, 8)),
    ],
)
def test_the_article_rows(model: str, examples: int, settings: tuple[float | None, ...]) -> None:
    """999 and 1,000 examples differ as the article's table says, and each row has its source and reason."""
    recipe = recommend(model, examples)
    assert tuple(recipe.settings().values()) == settings
    assert recipe.source
    assert recipe.why
    assert recipe.caveat


def test_the_large_pro_row_names_its_alternative() -> None:
    """From 1,000 examples a multiplier of 5 is the named alternative to the service's default."""
    assert recommend("gemini-2.5-pro", 1000).alternatives == ("learning_rate_multiplier=5",)


@given(st.sampled_from([model.name for model in models()]), st.integers(0, 10**7))
def test_a_recipe_exists_for_every_model_and_size(model: str, examples: int) -> None:
    """Defined for every n >= 0; where there is no row nothing is sent, and it says so."""
    recipe = recommend(model, examples)
    row = any(preset.model == model for preset in presets())
    assert (recipe.preset == "article") == row
    if not row:
        assert set(recipe.settings().values()) == {None}
        assert model in recipe.why
    adapter = recipe.adapter_size
    known = find(model)
    assert known is not None
    assert adapter is None or adapter in known.adapters


def test_long_examples_are_outside_the_published_condition() -> None:
    """Above 500 tokens on average the caveat says so; the numbers stay those of the table."""
    assert "outside the published condition" in recommend("gemini-2.5-flash", 10, avg_tokens=500).caveat
    assert "outside" not in recommend("gemini-2.5-flash", 10, avg_tokens=499).caveat


def test_default_sends_nothing() -> None:
    """Google's present advice for a first job."""
    assert set(recommend("gemini-2.5-pro", 10, preset="default").settings().values()) == {None}


def test_article_without_a_row_is_refused() -> None:
    """Numbers of one model are never carried over to another."""
    with pytest.raises(ConfigError, match=r"no row for gemini-3\.5-flash"):
        recommend("gemini-3.5-flash", 10, preset="article")


def test_unknown_and_retired_models() -> None:
    """An unknown model lists the known; a retired one names a successor that can be tuned."""
    with pytest.raises(ConfigError, match="unknown model") as caught:
        recommend("gemini-2.5-flsh", 10)
    assert "Did you mean 'gemini-2.5-flash'" in caught.value.hint
    for old, new in RETIRED.items():
        assert find(new) is not None
        with pytest.raises(ConfigError, match="retired"):
            recommend(old, 10)


def test_a_method_that_a_model_lacks_names_those_that_have_it() -> None:
    """Preference tuning has no 3.x model in the table."""
    with pytest.raises(ConfigError, match="cannot be tuned with method 'preference'") as caught:
        recommend("gemini-3.5-flash", 10, method="preference")
    assert "gemini-2.5-flash" in caught.value.hint


def test_a_negative_number_is_refused() -> None:
    """There is no recipe for fewer than no examples."""
    with pytest.raises(PlanError, match="examples=-1"):
        recommend("gemini-2.5-pro", -1)
