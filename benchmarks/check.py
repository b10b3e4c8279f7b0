"""`check_file` whole on Gemini rows of 0.5 kB, against the standard library's `json.loads` over the same lines.

    python benchmarks/check.py                  # 100,000 rows
    python benchmarks/check.py 100000 1000000   # and how the time grows

Targets: under 12 times `json.loads` at 100,000 rows; time(1M) / time(100k) at most 11. Each size runs in a process of
its own; peak memory is that of the process.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LABELS = ["card_arrival", "lost_card", "refund", "top_up", "fees", "limits", "address", "closing", "transfer", "pin"]


def write(path: Path, rows: int) -> None:
    """Distinct rows of English-like words; the label shows in the words of the text, as in real data."""
    chance = random.Random(7)
    words = ["".join(chance.choices("etaoinshrdlucmfwypvbgk", k=chance.randint(2, 9))) for _ in range(4000)]
    own = {label: chance.sample(words, 30) for label in LABELS}
    system = {"role": "system", "parts": [{"text": "You route support tickets to the right team."}]}
    with path.open("w", encoding="utf-8") as file:
        for _ in range(rows):
            label = chance.choice(LABELS)
            text = " ".join(chance.choices(words, k=36) + chance.choices(own[label], k=4))
            turns = [
                {"role": "user", "parts": [{"text": text}]}, {"role": "model", "parts": [{"text": label}]},
            ]  # fmt: skip
            file.write(json.dumps({"systemInstruction": system, "contents": turns}) + "\n")


def once(path: str) -> None:
    """Both, one after the other, in this process; prints JSON."""
    from gemini_tuning.data import check_file

    start = time.perf_counter()
    with Path(path).open("rb") as file:
        for line in file:
            json.loads(line)
    peer = time.perf_counter() - start
    start = time.perf_counter()
    report = check_file(path)
    ours = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"json.loads": peer, "check_file": ours, "peak": peak, "findings": len(report.findings)}))


def main() -> None:
    if sys.argv[1:2] == ["--once"]:
        return once(sys.argv[2])
    sizes = [int(each) for each in sys.argv[1:]] or [100_000]
    times = []
    with tempfile.TemporaryDirectory() as folder:
        for rows in sizes:
            path = Path(folder) / f"{rows}.jsonl"
            write(path, rows)
            size = path.stat().st_size
            done = subprocess.run(
                [sys.executable, __file__, "--once", str(path)], check=True, capture_output=True, text=True
            )
            seen = json.loads(done.stdout)
            ratio = seen["check_file"] / seen["json.loads"]
            times.append(seen["check_file"])
            print(
                f"{rows:>9,} rows of {size / rows:.0f} bytes: json.loads {seen['json.loads']:.2f} s, check_file "
                f"{seen['check_file']:.2f} s: {ratio:.1f} x (target under 12); peak memory {seen['peak'] / size:.1f} x "
                f"the file; {seen['findings']} findings"
            )
            path.unlink()
    if len(times) > 1:
        print(f"time({sizes[-1]:,}) / time({sizes[0]:,}) = {times[-1] / times[0]:.1f} (target at most 11)")
    return None


if __name__ == "__main__":
    main()
