"""One file, opened: its bytes as UTF-8 in blocks, whether it lies here or in Cloud Storage, packed or not.

A file is opened once and read forwards in bounded memory. What can be wrong with a path or with what is stored there is
a `DataError` with the code `data-file`, `data-encoding`, `data-format-unsupported` or `data-empty-file`.
"""

from __future__ import annotations

import codecs
import gzip
import heapq
import io
import itertools
import os
import stat
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn, cast

from ...errors import DataError, PlanError

if TYPE_CHECKING:
    from ...backend import Backend

BLOCK = 1 << 20
"""Bytes that are read at once."""
ROW_LIMIT = 64 << 20
"""Bytes that one row may have: far above what any model takes, far below what fills a machine."""

_UNPACKED_FREELY = 32 << 20
_RATIO = 100
"""Text packs to a tenth or so. Above this ratio, and these bytes, a gzip file is damaged or made to fill the memory."""

_BOMS = (
    (b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe\x00\x00", "utf-32-le"), (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"),
)  # fmt: skip
_UNPACK = "unpack it, or pack it as .gz."
_PICKLE = "it is never opened, since a pickle can run any program: save it as JSONL or Parquet."
_TABLE = "save it as CSV (UTF-8), or read it with pandas and pass the table to from_records()."
_CONTENTS = (
    (b"PK\x03\x04", "a zip archive (.zip, .xlsx)", "unpack it and name the file inside; a sheet is saved as CSV."),
    (b"BZh", "a bzip2 file", _UNPACK),
    (b"\xfd7zXZ\x00", "an xz file", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (b"\xd0\xcf\x11\xe0", "an old Office file (.xls)", _TABLE),
    (b"ARROW1", "an Arrow file", "read it with pyarrow and pass the table to from_records()."),
    (b"SQLite format 3", "an SQLite database", "select the rows and pass them to from_records()."),
    (b"%PDF", "a PDF", "training data are rows."),
    (b"\x80\x04\x95", "a pickle", _PICKLE),
    (b"\x80\x05\x95", "a pickle", _PICKLE),
)  # fmt: skip
UNSUPPORTED = {
    ".bz2": _UNPACK, ".xz": _UNPACK, ".zst": _UNPACK, ".zip": _UNPACK, ".7z": _UNPACK, ".tar": _UNPACK,
    ".tgz": _UNPACK, ".xlsx": _TABLE, ".xls": _TABLE, ".ods": _TABLE,
    ".pkl": _PICKLE,
    ".arrow": "read it with pyarrow and pass the table to from_records().",
    ".feather": "read it with pyarrow and pass the table to from_records().",
}  # fmt: skip
_KINDS = (
    (stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
)  # fmt: skip


class Source:
    """One file that is read; use it in a `with` block.

    Attributes:
        name: The path as the user gave it, for messages.
        suffix: The ending of the name, `.gz` left out, in small letters.
        head: The first block, decoded to UTF-8, without a byte order mark.
        encoding: `"utf-8"`, or what the file's byte order mark says (`"utf-16-le"`, ...). A file whose encoding was
            told counts as `"utf-8"`: it is read as that from here on.
        bom: Whether it begins with a byte order mark.
    """

    def __init__(
        self, path: str | os.PathLike[str], backend: Backend | str | None = None, encoding: str | None = None
    ) -> None:
        self._told = encoding
        self.name = _name(path)
        self._unpacked = 0
        self._size = 0
        self._stamp: tuple[int, int] | None = None
        stored = self._open(backend)
        self._stored = stored
        self._plain: IO[bytes] = stored
        try:
            self.packed = self._is_packed()
            if self.packed:
                self._plain = cast(IO[bytes], gzip.GzipFile(fileobj=stored, mode="rb"))
            self._decoder: codecs.IncrementalDecoder | None = None
            first = self._read()
            self.encoding, self.bom = self._detect(first)
            # In UTF-8 the mark is these three bytes, whatever it was before.
            self.head = self._decode(first).removeprefix(b"\xef\xbb\xbf")
        except BaseException:
            self.close()
            raise
        stem = self.name[:-3] if self.name.lower().endswith(".gz") else self.name
        self.suffix = Path(stem).suffix.lower()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        if self._plain is not self._stored:
            self._plain.close()
        self._stored.close()

    def refuse(
        self, what: str, *, line: int | None = None, field: str | None = None, code: str, hint: str = ""
    ) -> NoReturn:
        """Raises DataError for this file."""
        raise DataError.at(what, file=self.name, line=line, field=field, code=code, hint=hint)

    # --- reading ---

    def blocks(self) -> Iterator[bytes]:
        """The content as UTF-8, once, in blocks of about 1 MiB; then DataError when the file was changed meanwhile."""
        yield self.head
        while data := self._read():
            yield self._decode(data)
        last = self._decode(b"")
        if last:
            yield last
        if self._stamp is not None and self._stamp != _stamp(os.fstat(self._stored.fileno())):
            hint = "read it again when nobody writes to it, or read a copy."
            self.refuse("the file changed while it was read", code="data-file", hint=hint)

    def seekable(self) -> IO[bytes]:
        """The stored bytes as a file in which one can go back; a file of Cloud Storage is copied to a temporary one."""
        if self._stamp is not None:
            self._stored.seek(0)
            return self._stored
        copy = cast(IO[bytes], tempfile.TemporaryFile())  # noqa: SIM115
        copy.write(self.head)
        while data := self._read():
            copy.write(data)
        copy.seek(0)
        self._stored.close()
        self._stored = self._plain = copy
        return copy

    def _read(self) -> bytes:
        try:
            data = self._plain.read(BLOCK)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            self.refuse(f"it is not a whole gzip file: {error}", code="data-file", hint="copy or compress it again.")
        except OSError as error:
            self.refuse(f"it cannot be read: {error.strerror or error}", code="data-file")
        self._unpacked += len(data)
        if self.packed and self._unpacked > max(_UNPACKED_FREELY, _RATIO * self._size):
            what = f"it unpacks to more than {_RATIO} times its size ({self._size:,} bytes)"
            self.refuse(what, code="data-file", hint="that is no text: it is damaged, or made to fill the memory.")
        return data

    def _is_packed(self) -> bool:
        named = self.name.lower().endswith(".gz")
        with_magic = self._peek()[:2] == b"\x1f\x8b"
        if with_magic and not named and not getattr(self._stored, "served_packed", False):
            self.refuse("the file is gzip, but its name does not end with .gz", code="data-file", hint="rename it.")
        return named or with_magic

    def _peek(self) -> bytes:
        try:
            return cast(io.BufferedReader, self._stored).peek(16)
        except OSError as error:
            self.refuse(f"it cannot be read: {error.strerror or error}", code="data-file")

    def _detect(self, first: bytes) -> tuple[str, bool]:
        """The encoding, and whether there is a byte order mark."""
        for start, what, hint in _CONTENTS:
            if first.startswith(start):
                self.refuse(f"this is {what}", code="data-format-unsupported", hint=hint)
        if first[:2] == b"\x1f\x8b":
            self.refuse("there is gzip inside gzip", code="data-file", hint="unpack it once.")
        for mark, encoding in _BOMS:
            if first.startswith(mark):
                if (
                    self._told is not None
                    and codecs.lookup(self._told).name in (encoding, encoding[:6])
                    and len(mark) != 3
                ):
                    self._decoder = codecs.getincrementaldecoder(encoding)("strict")
                    return "utf-8", False  # the mark belongs to the encoding that was told
                if encoding != "utf-8":
                    self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
                return encoding, True
        if self._told is not None:
            # Strict: a byte that the encoding does not have is refused, as in UTF-8.
            self._decoder = codecs.getincrementaldecoder(self._told)("strict")
            return "utf-8", False
        if len(first) > 3 and b"\0" in first[:4]:
            if not first[:4].strip(b"\0"):
                what = "the file begins with NUL bytes"
                self.refuse(what, line=1, code="data-encoding", hint="it was not written to its end: copy it again.")
            self.refuse("the file looks like UTF-16 or UTF-32", line=1, code="data-encoding", hint="save it as UTF-8.")
        return "utf-8", False

    def _decode(self, data: bytes) -> bytes:
        if self._decoder is None:
            return data
        try:
            return self._decoder.decode(data, not data).encode("utf-8", "surrogatepass")
        except UnicodeError as error:  # without a byte order mark UTF-16 raises no more than that
            what = f"it is not {self._told or self.encoding.upper()[:6]}: {getattr(error, 'reason', error)}"
            hint = "is it another encoding=?" if self._told else "save it as UTF-8."
            told = codecs.lookup(self._told).name if self._told else ""
            if told == "utf-16" and not isinstance(error, UnicodeDecodeError):
                hint = "without a byte order mark the order must be told: encoding='utf-16-le' or 'utf-16-be'."
            self.refuse(what, code="data-encoding", hint=hint)

    # --- opening ---

    def _open(self, backend: Backend | str | None) -> IO[bytes]:
        if self.name.startswith("gs://"):
            # Google's client takes half a second to import, and a local file needs none of it.
            from ...backend.files import open_object

            remote = open_object(self.name, backend)
            self._size = remote.size
            return remote
        if "://" in self.name:
            scheme = self.name.split(":")[0]
            self.refuse(
                f"{scheme} addresses are not read", code="data-file", hint="copy the file first; gs:// is read."
            )
        try:
            # Without O_NONBLOCK a named pipe would wait for its writer for ever.
            file = open(self.name, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))  # noqa: SIM115
        except FileNotFoundError:
            self.refuse("there is no such file", code="data-file", hint=_neighbours(self.name))
        except IsADirectoryError:
            self.refuse("this is a directory", code="data-file", hint=_files_in(self.name))
        except (OSError, ValueError) as error:
            what = getattr(error, "strerror", None) or str(error)
            self.refuse(f"it cannot be opened: {what}", code="data-file", hint=_odd_kind(self.name))
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            file.close()
            what = next((name for test, name in _KINDS if test(found.st_mode)), "no file")
            self.refuse(f"this is {what}", code="data-file", hint="read it into rows and pass them to from_records().")
        self._size, self._stamp = found.st_size, _stamp(found)
        return file


def _name(path: object) -> str:
    try:
        name = os.fspath(path)  # type: ignore[call-overload]
    except TypeError:
        raise PlanError.bad_value(
            "read", "path", path, "a path", hint="for rows in memory: from_records(rows)."
        ) from None
    return os.fsdecode(name)


def _stamp(found: os.stat_result) -> tuple[int, int]:
    return found.st_size, found.st_mtime_ns


def _some(folder: Path) -> list[str]:
    """The first names of a folder; of a very large one, the first of those met first."""
    try:
        with os.scandir(folder) as entries:
            return heapq.nsmallest(8, (entry.name for entry in itertools.islice(entries, 10_000)))
    except OSError:
        return []


def _neighbours(name: str) -> str:
    folder = Path(os.path.abspath(name)).parent
    if not folder.is_dir():
        return f"there is no folder {folder} either."
    return f"in {folder} there is: {', '.join(_some(folder)) or 'nothing'}."


def _files_in(name: str) -> str:
    data = [each for each in _some(Path(name)) if "." in each]
    return f"name one file: {', '.join(data)}." if data else "there is no data file in it."


def _odd_kind(name: str) -> str:
    try:
        mode = os.stat(name).st_mode
    except (OSError, ValueError):
        return ""
    return next((f"it is {what}." for test, what in _KINDS if test(mode)), "")
