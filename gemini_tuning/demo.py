"""`python -m gemini_tuning demo`: the whole road, offline, on real questions of bank customers.

Written with the public API only: it is also the example to copy from. The notebook `01_first_run` is the same in
cells.
"""

from __future__ import annotations

import time
from pathlib import Path

from .data import paraphrase, rare_labels
from .datasets import banking77
from .display import Bars, save_html, shorten
from .eval import Accuracy, Comparison, Judge, MacroF1
from .ledger import DEFAULT
from .project import TuningProject

WORKDIR = DEFAULT / "demo"


def project(workdir: Path = WORKDIR) -> TuningProject:
    """The plan of the demo: what a user would write."""
    path = banking77()
    start = TuningProject.from_file(
        path, input="text", output="intent", name="banking77-demo", model="gemini-2.5-flash",
        backend="offline", workdir=workdir,
    )  # fmt: skip
    intents = ", ".join(sorted(start.data.labels))
    return (
        start.dedup(near=0.8)
        .split(validation=0.12, test=0.24, seed=7)
        .augment(paraphrase(per_example=1), only=rare_labels(below=15))
        .instruct(
            system=f"You route a bank's customers. Answer with exactly one of these intents: {intents}",
            each="Intent of: {input}",
        )
    )


def run(workdir: Path = WORKDIR) -> Comparison:
    """The road, printed as it is walked; returns the comparison at its end."""
    started = time.monotonic()
    plan = project(workdir)
    again = plan.is_recorded
    say("gemini_tuning demo. Everything below is simulated: a small numpy model stands in for Gemini.")
    if again:
        say("This demo ran here before: results are read from the working directory, and the job is not bought again.")
    say(f"Data: {len(plan.data):,} real questions, {len(plan.data.labels)} intents (banking77, CC BY 4.0, PolyAI).")

    with Bars() as bars:
        head("1. Baseline: the base models, untuned, on the validation part (simulated)")
        baseline = plan.baseline(
            Accuracy(), MacroF1(), models=("gemini-2.5-flash", "gemini-2.5-pro"), progress=bars.update
        )
        say(baseline)
        choice = baseline.recommend(prefer="quality")
        say(f"Best in quality: {choice.model}. {choice.why}")
        say("The demo goes on with gemini-2.5-flash: tuning is where the difference will come from.")

        head("2. Data: what curation did, and why")
        curation = plan.curate(progress=bars.update)
        say(curation)
        for report in curation.reports:
            for line in highlights(report):
                say(f"  {line}")
        shown = plan.preview(1)[0]
        say(f"One example as the model reads it: {shorten(shown.prompt.text, 90)!r} -> {shown.output!r}")

        head("3. Recipe")
        say(plan.estimate())

        head("4. The tuning job (simulated)")
        job = plan.tune(progress=bars.update)
        tuned = job.wait(timeout=600, on_update=bars.job)
        say(f"{job.describe()}: {tuned}")

        head("5. Curves and diagnosis (simulated)")
        curves = job.curves()
        say(curves)
        verdict = job.diagnose()[0]
        say(f"Diagnosis: {verdict.code}: {verdict.message} {verdict.hint}")

        head("6. Base against tuned, on the test part that nothing was chosen by (simulated)")
        metrics = (Accuracy(), MacroF1())
        before = plan.evaluate(*metrics, progress=bars.update)
        after = plan.evaluate(*metrics, model=tuned, progress=bars.update)
        judged = plan.evaluate(Judge("names the customer's intent"), model=tuned, limit=100, progress=bars.update)
        comparison = after.compare(before)
    say(f"A simulated judge on 100 of the tuned answers:\n{judged}")
    for title, pairs in (("won", comparison.won(5)), ("lost", comparison.lost(5))):
        say(f"Examples {title}:")
        for pair in pairs:
            say(f"  {shorten(pair.input, 64)!r}: {pair.before!r} -> {pair.after!r} (right: {pair.reference!r})")
        if not pairs:
            say("  none")
    page = save_html(
        workdir / "report.html", comparison, after, before, judged, baseline, curation, plan.estimate(), job, curves,
        title="banking77: base against tuned (simulated)",
    )  # fmt: skip
    say(f"\nReport: {page}")
    took = time.monotonic() - started
    say(f"Done in {took:.0f} s{', read from the working directory' if again else ''}. Run it again: it takes seconds.")
    say(comparison)
    return comparison


def highlights(report: object) -> list[str]:
    """A few of the reasons that a curation report holds."""
    lines = []
    for drop in list(getattr(report, "dropped", ()))[:2]:
        lines.append(
            f"dropped ({drop.kind}, {drop.similarity:.2f}): {shorten(drop.example.input, 60)!r} "
            f"because of {shorten(drop.because_of.input, 60)!r}"
        )
    for rejection in list(getattr(report, "rejected", ()))[:2]:
        lines.append(f"rejected ({rejection.reason}): {shorten(rejection.text, 70)!r}")
    return lines


def head(text: str) -> None:
    """A heading."""
    say(f"\n== {text}")


def say(what: object) -> None:
    """One print for the whole demo."""
    print(what, flush=True)
