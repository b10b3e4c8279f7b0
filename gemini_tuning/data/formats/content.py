"""The content of one message: a text, or a list of texts and files."""

from __future__ import annotations

from collections.abc import Mapping

from ...types import Json, Location, Part
from .media import AUDIO, Placeholders, file_part, inline_part
from .row_values import as_list, check_unicode, is_missing, kind, refuse

_TEXT_TYPES = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
_FILE_KEYS = {
    name: key
    for key in ("image_url", "video_url", "audio_url", "image", "video", "audio")
    for name in (key, f"input_{key}")
} | {"input_image": "image_url"}


def content_parts(value: Json, field: str, where: Location, files: Placeholders | None = None) -> list[Part]:
    """The parts that a message's content says; none for an empty or missing one.

    Args:
        value: A text, or a list of OpenAI's content parts.
        field: Its name, for messages.
        where: The place of the row.
        files: What `<image>` and its like in the text stand for.
    """
    if type(value) is str:
        check_unicode(value, field, where)
        if files is not None:
            return files.parts(value)
        return [Part(text=value)] if value else []
    if is_missing(value):
        return []
    pieces = as_list(value)
    if pieces is None:
        refuse(where, field, f"expected a text or a list of content parts, found {kind(value)}", "data-type")
    return [part for at, piece in enumerate(pieces) for part in _piece(piece, f"{field}[{at}]", where, files)]


def _piece(piece: Json, field: str, where: Location, files: Placeholders | None) -> list[Part]:
    """One content part: a text, or a file by its address or its bytes."""
    if isinstance(piece, str):
        return content_parts(piece, field, where, files)
    if not isinstance(piece, Mapping):
        refuse(where, field, f"expected a content part, found {kind(piece)}", "data-shape")
    name = piece.get("type")
    if not isinstance(name, str):
        refuse(where, f"{field}.type", f"expected the name of a type, found {kind(name)}", "data-shape")
    if name in _TEXT_TYPES:
        text = piece.get(_TEXT_TYPES[name])
        if not isinstance(text, str):
            refuse(where, f"{field}.{_TEXT_TYPES[name]}", f"expected a text, found {kind(text)}", "data-type")
        return content_parts(text, f"{field}.{_TEXT_TYPES[name]}", where, files)
    if name == "input_audio":
        return [_audio(piece.get(name), f"{field}.{name}", where)]
    if name not in _FILE_KEYS:
        hint = "text, image_url and input_audio can; a file needs its address."
        refuse(where, f"{field}.type", f"a content part of type {name!r} cannot be read", "data-shape", hint)
    key = _FILE_KEYS[name]
    value = piece.get(key, piece.get("url"))
    return [file_part(value.get("url") if isinstance(value, Mapping) else value, f"{field}.{key}", where)]


def _audio(audio: Json, field: str, where: Location) -> Part:
    data, name = (audio.get("data"), audio.get("format")) if isinstance(audio, Mapping) else (None, None)
    if not isinstance(data, str) or name not in AUDIO:
        refuse(where, field, f"expected data and a format of {', '.join(map(repr, AUDIO))}", "data-shape")
    return inline_part(AUDIO[name], data, field, where)
