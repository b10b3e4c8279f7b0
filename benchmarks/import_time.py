"""What an import costs: whole processes, in turn, medians.

    python benchmarks/import_time.py [runs]

Each statement is run in a fresh interpreter, all of them once a round, so that a busy moment hits all alike. Printed
are milliseconds over a bare interpreter (`pass`) and the ratio to pydantic, the largest thing that we import ourselves.
"""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import time

BARE = "pass"
PEER = "from pydantic import BaseModel"
STATEMENTS = [BARE, PEER, "import gemini_tuning", "from gemini_tuning import TuningProject"]
RUNS = 9


def seconds(statement: str) -> float:
    started = time.perf_counter()
    # Warnings of the packages measured are not what is measured.
    subprocess.run([sys.executable, "-W", "ignore", "-c", statement], check=True)
    return time.perf_counter() - started


def main(runs: int = RUNS) -> None:
    statements = list(STATEMENTS)
    if importlib.util.find_spec("vertexai") is not None:
        statements.append("import vertexai")
    times: dict[str, list[float]] = {statement: [] for statement in statements}
    for statement in statements:
        seconds(statement)  # once unmeasured: byte code is written and files come into memory
    for _ in range(runs):
        for statement in statements:
            times[statement].append(seconds(statement))
    median = {statement: statistics.median(taken) * 1000 for statement, taken in times.items()}
    over = {statement: value - median[BARE] for statement, value in median.items()}
    print(f"Python {sys.version.split()[0]}, medians of {runs} runs; bare interpreter {median[BARE]:.0f} ms")
    print(f"{'statement':<42}{'ms over bare':>14}{'x pydantic':>12}")
    for statement in statements[1:]:
        print(f"{statement:<42}{over[statement]:>14.1f}{over[statement] / over[PEER]:>12.2f}")
    if len(statements) == len(STATEMENTS):
        print("vertexai is not installed, so it was not measured")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS)
