"""Reading Gemini JSONL: rows a second beside plain JSON parsers on the same lines, memory, and growth.

    PYTHONPATH=. python benchmarks/read.py [rows ...]

Files are made here (no data set is read): rows of about 0.5 kB with a system instruction, a question and an answer of
random words; half of the answers are one of 50 labels. Each figure is the best of several rounds, and the readers take
turns within a round, so that a busy machine slows all of them. Memory is the growth of a fresh process over its size
after the imports.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pydantic

from gemini_tuning.data import read

ROUNDS = 5


def make(path: Path, rows: int, *, flat: bool = False) -> None:
    random_ = random.Random(0)
    words = ["".join(random_.choices("etaoinshrdlucmfwyp", k=random_.randint(2, 9))) for _ in range(5000)]
    labels = ["_".join(random_.choices(words, k=3)) for _ in range(50)]
    system = {"role": "system", "parts": [{"text": "You route support tickets."}]}
    with path.open("w", encoding="utf-8") as file:
        for n in range(rows):
            asked = " ".join(random_.choices(words, k=random_.randint(35, 60)))
            answer = random_.choice(labels) if n % 2 else " ".join(random_.choices(words, k=random_.randint(4, 14)))
            turns = [
                {"role": "user", "parts": [{"text": asked}]},
                {"role": "model", "parts": [{"text": answer}]},
            ]
            row = {"input": asked, "output": answer} if flat else {"systemInstruction": system, "contents": turns}
            file.write(json.dumps(row) + "\n")


# --- other readers -------------------------------------------------------------------------------------------------


class Part(msgspec.Struct):
    text: str


class Turn(msgspec.Struct):
    role: str
    parts: list[Part]


class System(msgspec.Struct):
    role: str
    parts: list[Part]


class Line(msgspec.Struct):
    systemInstruction: System
    contents: list[Turn]


class PydanticPart(pydantic.BaseModel):
    text: str


class PydanticTurn(pydantic.BaseModel):
    role: str
    parts: list[PydanticPart]


class PydanticLine(pydantic.BaseModel):
    systemInstruction: PydanticTurn
    contents: list[PydanticTurn]


def loads_bytes(path: Path) -> None:
    with path.open("rb") as file:
        for line in file:
            json.loads(line)


def loads_text(path: Path) -> None:
    with path.open(encoding="utf-8") as file:
        for line in file:
            json.loads(line)


def msgspec_typed(path: Path) -> list[Line]:
    decode = msgspec.json.Decoder(Line).decode
    with path.open("rb") as file:
        return [decode(line) for line in file]


def pydantic_lines(path: Path) -> list[PydanticLine]:
    with path.open("rb") as file:
        return [PydanticLine.model_validate_json(line) for line in file]


def ours(path: Path) -> object:
    return read(path)


READERS: dict[str, Callable[[Path], object]] = {
    "json.loads, lines of bytes, nothing kept": loads_bytes,
    "json.loads, lines of text, nothing kept": loads_text,
    "msgspec typed, kept": msgspec_typed,
    "pydantic, kept": pydantic_lines,
    "gemini_tuning.data.read": ours,
}


def timed(path: Path, readers: dict[str, Callable[[Path], object]], rounds: int) -> dict[str, float]:
    best = dict.fromkeys(readers, float("inf"))
    for _ in range(rounds):
        for name, reader in readers.items():
            start = time.perf_counter()
            result = reader(path)
            best[name] = min(best[name], time.perf_counter() - start)
            del result
    return best


def memory(path: Path) -> float:
    """The growth of a fresh process that reads the file, as a multiple of the file's size."""
    answer = subprocess.run(
        [sys.executable, __file__, "--memory", str(path)], check=True, capture_output=True, text=True
    ).stdout
    return float(answer) / path.stat().st_size


def peak() -> int:
    """The most bytes of memory that this process has held."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: `ru_maxrss` would include the parent, whose memory a child shares as it starts
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS, in bytes


def measure_memory(path: Path) -> None:
    before = peak()
    data = read(path)
    print(peak() - before)
    assert len(data)


def main() -> None:
    if sys.argv[1:2] == ["--memory"]:
        measure_memory(Path(sys.argv[2]))
        return
    sizes = [int(argument) for argument in sys.argv[1:]] or [100_000]
    taken: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for rows in sizes:
            path = Path(folder) / "rows.jsonl"
            make(path, rows)
            size = path.stat().st_size
            # The slow parsers say nothing more at a million rows.
            readers = {name: reader for name, reader in READERS.items() if rows <= 200_000 or "pydantic" not in name}
            best = timed(path, readers, ROUNDS if rows <= 200_000 else 3)
            taken[rows] = mine = best["gemini_tuning.data.read"]
            print(f"{rows:,} rows of Gemini's shape, {size / rows:.0f} bytes each")
            for name, seconds in best.items():
                print(f"  {name:42} {seconds:7.3f} s {rows / seconds:12,.0f} rows/s {seconds / mine:5.2f} x ours")
            print(f"  memory: {memory(path):.2f} x the file")
            if rows <= 200_000:
                make(path, rows, flat=True)
                best = timed(path, {"flat": ours, "json": loads_bytes}, 3)
                print(f"  two flat columns: {best['flat']:.3f} s, json.loads {best['json']:.3f} s")
    small, large = min(taken), max(taken)
    if small != large:
        print(f"{large:,} rows take {taken[large] / taken[small]:.1f} times as long as {small:,}")


if __name__ == "__main__":
    main()
