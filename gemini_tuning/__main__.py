"""`python -m gemini_tuning demo`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .errors import GeminiTuningError


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; 0 when all went well, 1 for an error of the library, 2 for a wrong command."""
    parser = argparse.ArgumentParser(prog="python -m gemini_tuning", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo", help="the whole road, offline and simulated, on a real data set, in about a minute"
    )
    demo.add_argument("--workdir", type=Path, default=None, help="default: .gemini_tuning/demo")
    chosen = parser.parse_args(arguments)
    from .demo import WORKDIR, run  # after the arguments: --help should not wait for imports

    try:
        run(chosen.workdir or WORKDIR)
    except GeminiTuningError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
