"""The dated table: limits of files, prices, and what may be unknown."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Iterator
from typing import Any

import pytest

from gemini_tuning import models as table
from gemini_tuning.models import MEDIA, MEDIA_RESOLUTIONS, PART_MEDIA_RESOLUTIONS, Price, find, media_of, models

from .conftest import SHARED


def test_every_kind_of_file_has_one_row_with_a_source() -> None:
    """Four kinds, each with limits and its page; no MIME type belongs to two of them."""
    assert [media.kind for media in MEDIA] == ["image", "audio", "video", "document"]
    types = [name for media in MEDIA for name in media.mime_types]
    assert len(types) == len(set(types))
    assert all(name == name.lower() and name.count("/") == 1 for name in types)
    assert all(media.files >= 1 and media.bytes >= 20_000_000 and media.source for media in MEDIA)


def test_the_limits_are_those_of_the_pages() -> None:
    """The numbers that decide whether an example is dropped."""
    rows = {media.kind: media for media in MEDIA}
    assert (rows["image"].files, rows["image"].bytes) == (30, 20_000_000)
    assert (rows["audio"].files, rows["audio"].seconds) == (1, 60 * 60)
    assert (rows["video"].seconds, rows["video"].seconds_low) == (5 * 60, 20 * 60)
    assert (rows["document"].files, rows["document"].pages) == (4, 300)
    assert (table.EXAMPLES_MULTIMODAL, table.FILE_BYTES) == (300_000, 1_000_000_000)
    assert (table.REINFORCEMENT_EXAMPLES, table.REINFORCEMENT_TOKENS) == (5_000, 32_768)
    assert table.TEXT_ONLY == ("preference",)


@pytest.mark.parametrize(
    ("mime", "kind"),
    [
        ("image/jpeg", "image"), ("IMAGE/PNG", "image"), (" video/mp4 ; codecs=avc1", "video"),
        ("audio/mpeg", "audio"), ("application/pdf", "document"), ("image/gif", None), ("", None),
    ],
)  # fmt: skip
def test_a_mime_type_finds_its_kind(mime: str, kind: str | None) -> None:
    """Case, spaces and parameters do not matter; a type that no page lists finds nothing."""
    found = media_of(mime)
    assert (found.kind if found else None) == kind


def test_the_samples_in_googles_documents_are_within_the_table() -> None:
    """Every file of the published samples has a listed type and a known resolution."""
    folder = SHARED / "format_samples" / "gemini_docs"
    if not folder.is_dir():
        pytest.skip("the sample data sets are not here")
    types, levels = set(), set()
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            for found in walk(json.loads(line)):
                types |= {found["mimeType"]} if "mimeType" in found else set()
                levels |= {found["mediaResolution"]} if isinstance(found.get("mediaResolution"), str) else set()
                levels |= {found["level"]} if "level" in found else set()
    assert types
    assert levels
    assert all(media_of(name) is not None for name in types)
    assert levels <= set(PART_MEDIA_RESOLUTIONS)


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Every object inside."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(inner)


def test_the_resolutions_are_names_that_the_client_knows() -> None:
    """A resolution that google-genai does not have could not be sent."""
    types = pytest.importorskip("google.genai.types")
    assert set(MEDIA_RESOLUTIONS) < {each.value for each in types.MediaResolution}
    assert set(PART_MEDIA_RESOLUTIONS) < {each.value for each in types.PartMediaResolutionLevel}


def test_every_known_price_has_a_source_and_a_day() -> None:
    """No number without where and when; training prices of Gemini 3 are unknown, not 0."""
    for model in models():
        price = model.price
        for value in (price.training, price.input, price.output):
            assert value is None or value > 0
        assert price.source
        datetime.date.fromisoformat(price.as_of)
        assert price.tuned_factor == (1.0 if model.name.startswith("gemini-2.5") else 1.5)
        assert (price.training is None) == model.name.startswith("gemini-3")


def test_a_price_that_nobody_gave_is_unknown() -> None:
    """The empty price states nothing; rows cannot be changed in place."""
    assert (Price().training, Price().input, Price().output) == (None, None, None)
    row = find("gemini-2.5-flash")
    assert row is not None
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.price.training = 0.0  # type: ignore[misc]
