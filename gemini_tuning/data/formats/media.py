"""Files that chat rows name: images, audio, video and documents as Gemini's `fileData` and `inlineData`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ...types import Json, Location, Part
from .row_values import as_list, canonical, has, kind, refuse

# Not the `mimetypes` module: what it knows depends on the machine. Google's pages on multimodal tuning, read 2026-11.
_TYPES = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif",
    "heic": "image/heic", "heif": "image/heif",
    "pdf": "application/pdf", "txt": "text/plain",
    "mp3": "audio/mpeg", "wav": "audio/wav", "aac": "audio/aac", "flac": "audio/flac", "ogg": "audio/ogg",
    "m4a": "audio/mp4",
    "mp4": "video/mp4", "mpeg": "video/mpeg", "mpg": "video/mpeg", "mov": "video/quicktime", "webm": "video/webm",
    "avi": "video/x-msvideo", "wmv": "video/x-ms-wmv", "flv": "video/x-flv", "3gp": "video/3gpp",
}  # fmt: skip
_SCHEMES = ("gs://", "http://", "https://")
_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,", re.IGNORECASE)
_PLACEHOLDERS = {"<image>": "images", "<video>": "videos", "<audio>": "audios"}

AUDIO = {"mp3": "audio/mpeg", "wav": "audio/wav"}
"""The names that OpenAI's `input_audio` has for formats."""


def mime_type(uri: str) -> str | None:
    """The type that an address's ending says, or None when it says nothing."""
    path = uri.split("?")[0].split("#")[0] if uri.startswith("http") else uri
    return _TYPES.get(path.rsplit("/", 1)[-1].rpartition(".")[2].lower())


def file_part(uri: Json, field: str, where: Location) -> Part:
    """A file by its address: `gs://` or `http(s)://` as `fileData`, a `data:` address as `inlineData`.

    The type is that of the ending; where the ending says none it is left out, and the check reports it.
    """
    if not isinstance(uri, str):
        hint = "files are named by their address: upload them and write gs://..."
        refuse(where, field, f"expected the address of a file, found {kind(uri)}", "data-file-uri", hint)
    inline = _DATA.match(uri)
    if inline:
        return inline_part(inline.group(1), uri[inline.end() :], field, where)
    if not uri.startswith(_SCHEMES):
        what = f"{uri[:80]!r} is no gs:// or http(s):// address"
        hint = "the service cannot read local files: upload it and write its address."
        refuse(where, field, what, "data-file-uri", hint)
    known = mime_type(uri)
    return Part(other=canonical({"fileData": {"fileUri": uri, **({"mimeType": known} if known else {})}}, where, field))


def inline_part(mime: str, data: str, field: str, where: Location) -> Part:
    """A file by its bytes in base64."""
    return Part(other=canonical({"inlineData": {"mimeType": mime, "data": data}}, where, field))


class Placeholders:
    """The files of the columns `images`, `videos` and `audios`, taken one by one by `<image>` and its like in texts.

    A row without these columns has no placeholders: there `<image>` is a word like any other.
    """

    COLUMNS = tuple(_PLACEHOLDERS.values())

    def __init__(self, row: Mapping[str, Json], where: Location) -> None:
        self._where = where
        self._files: dict[str, list[Json]] = {}
        self._taken: dict[str, int] = {}
        for column in self.COLUMNS:
            if has(row, column):
                value = as_list(row[column])
                if value is None:
                    refuse(where, column, f"expected a list of addresses, found {kind(row[column])}", "data-shape")
                if value:
                    self._files[column], self._taken[column] = value, 0
        names = [name for name, column in _PLACEHOLDERS.items() if column in self._files]
        self._names = re.compile(f"({'|'.join(names)})") if names else None

    def parts(self, text: str) -> list[Part]:
        """The text cut at its placeholders, each replaced by the next file."""
        if self._names is None:
            return [Part(text=text)] if text else []
        parts = []
        for piece in self._names.split(text):
            column = _PLACEHOLDERS.get(piece)
            if column is None:
                parts += [Part(text=piece)] if piece else []
                continue
            at, files = self._taken[column], self._files[column]
            self._taken[column] += 1
            if at < len(files):
                parts.append(file_part(files[at], f"{column}[{at}]", self._where))
        return parts

    def check_all_taken(self) -> None:
        """As many placeholders as files, or nobody knows where they belong."""
        for column, files in self._files.items():
            taken = self._taken[column]
            if taken != len(files):
                name = next(name for name, each in _PLACEHOLDERS.items() if each == column)
                what = f"{len(files)} files, while the texts have {name} {taken} times"
                refuse(self._where, column, what, "data-shape", f"write {name} where each file belongs.")
