"""`python -m gemini_tuning demo` and `python -m gemini_tuning check FILE`.

Exit codes of `check`: 0 when nothing speaks against buying a job, 1 when a finding says stop (with `--strict` a warning
too), 2 when the file cannot be opened or the command is wrong.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from pathlib import Path

from .errors import GeminiTuningError


def main(arguments: list[str] | None = None) -> int:
    """Runs a command. Exit code 0 when all went well, 2 for a wrong command; see each command for the others."""
    parser = argparse.ArgumentParser(
        prog="python -m gemini_tuning", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo", help="the whole road, offline and simulated, on a real data set, in about a minute"
    )
    demo.add_argument("--workdir", type=Path, default=None, help="default: .gemini_tuning/demo")
    check = commands.add_parser("check", help="what is wrong with a file of examples, before any money is spent")
    check.add_argument("file", help="JSONL, JSON, CSV, TSV or Parquet, also .gz; local or gs://")
    check.add_argument("--model", help="whose limits count; default: the strictest of today's models")
    check.add_argument("--format", help="the format, when it cannot be told from the file")
    check.add_argument("--encoding", help="when the file is not UTF-8, for example cp1252 or gb18030")
    check.add_argument("--input", default="input", help="column with what the model is asked (default: input)")
    check.add_argument("--output", default="output", help="column with the answer to learn (default: output)")
    check.add_argument("--leak-from", metavar="OTHER", help="a file that training must not have seen, as a test set")
    check.add_argument("--production", metavar="SAMPLE", help="a file of what users really ask; answers not needed")
    check.add_argument("--json", action="store_true", help="the whole report as JSON")
    check.add_argument("--strict", action="store_true", help="exit with 1 for warnings too")
    chosen = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal or pipe that is not UTF-8
    return _demo(chosen) if chosen.command == "demo" else _check(chosen)


def _demo(chosen: argparse.Namespace) -> int:
    """Exit code 1 for an error of the library."""
    from .demo import WORKDIR, run  # after the arguments: --help should not wait for imports

    try:
        run(chosen.workdir or WORKDIR)
    except GeminiTuningError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _check(chosen: argparse.Namespace) -> int:
    from .data.checks.check import check_file

    try:
        report = check_file(
            chosen.file, model=chosen.model, leak_from=chosen.leak_from, production=chosen.production,
            format=chosen.format, encoding=chosen.encoding, input=chosen.input, output=chosen.output,
        )  # fmt: skip
    except GeminiTuningError as error:
        print(_visible(f"{type(error).__name__}: {error}"), file=sys.stderr)
        return 2
    try:
        print(report.to_json().decode() if chosen.json else _visible(repr(report)), flush=True)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    strict = chosen.strict and any(finding.severity == "warning" for finding in report.findings)
    return 0 if report.ok and not strict else 1


def _visible(text: str) -> str:
    """Text from a file cannot move the cursor or colour the terminal: control characters are written out."""
    return "".join(char if char == "\n" or char.isprintable() else f"\\x{ord(char):02x}" for char in text)


if __name__ == "__main__":
    sys.exit(main())
