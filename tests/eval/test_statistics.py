from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score
from statsmodels.stats.contingency_tables import mcnemar as sm_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from gemini_tuning.errors import PlanError
from gemini_tuning.eval.statistics import (
    Score,
    holm,
    macro_f1_difference,
    macro_f1_interval,
    macro_f1_swap,
    mcnemar,
    mean_interval,
    minimum_detectable,
    needed_n,
    paired_binary_interval,
    paired_interval,
    sign_flip,
    wilson,
)

counts = st.integers(0, 60)
grades = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=30)


class TestScore:
    @pytest.mark.parametrize("n", [0, -1])
    def test_no_rows_are_no_score(self, n):
        """A score without rows cannot be made."""
        with pytest.raises(ValueError, match="at least one row"):
            Score(0.0, 0.0, 0.0, n)

    @pytest.mark.parametrize("values", [(math.nan, 0, 1), (0.5, 0.6, 1), (0.5, 0, 0.4), (0.5, 0, math.inf)])
    def test_an_interval_holds_its_value(self, values):
        """NaN, infinity and an interval beside its own value are refused."""
        with pytest.raises(ValueError):
            Score(*values, 10)

    def test_negation_is_exact(self):
        """The difference the other way round is the mirrored interval."""
        assert -Score(0.1, -0.2, 0.5, 9) == Score(-0.1, -0.5, 0.2, 9)


class TestWilson:
    @given(st.integers(1, 5000), st.data())
    def test_equals_statsmodels(self, n, data):
        """The interval is statsmodels' own."""
        k = data.draw(st.integers(0, n))
        made = wilson(k, n)
        low, high = proportion_confint(k, n, method="wilson")
        assert (made.value, made.n) == (k / n, n)
        assert (made.low, made.high) == (pytest.approx(low, abs=1e-12), pytest.approx(high, abs=1e-12))

    def test_ends(self):
        """None right ends at exactly 0, all right at exactly 1, and neither is a point."""
        assert wilson(0, 10).low == 0.0 < wilson(0, 10).high
        assert wilson(10, 10).high == 1.0 > wilson(10, 10).low

    @pytest.mark.parametrize(("k", "n"), [(0, 0), (3, 2), (-1, 5), (1.5, 5)])
    def test_impossible_counts(self, k, n):
        """Counts that cannot be are refused by name."""
        with pytest.raises(PlanError, match="wilson"):
            wilson(k, n)

    def test_exact_coverage(self):
        """Over p from .02 to .98 at n = 50 the mean coverage is 95 %, and nowhere below 90 %."""
        ends = [wilson(k, 50) for k in range(51)]
        shares = np.linspace(0.02, 0.98, 97)
        cover = [
            sum(scipy.stats.binom.pmf(k, 50, p) for k, made in enumerate(ends) if made.low <= p <= made.high)
            for p in shares
        ]
        assert 0.945 < np.mean(cover) < 0.965
        assert min(cover) > 0.9


class TestMcNemar:
    @given(counts, counts)
    def test_is_exact_less_half_the_observed(self, b, c):
        """The mid-p value is statsmodels' exact p less the probability of the observed split; symmetric."""
        p = mcnemar(b, c)
        assert p == mcnemar(c, b)
        assert 0 < p <= 1
        exact = sm_mcnemar([[0, b], [c, 0]], exact=True).pvalue if b + c else 1.0
        if b == c:
            assert p == 1.0
        else:
            assert p == pytest.approx(exact - scipy.stats.binom.pmf(min(b, c), b + c, 0.5), abs=1e-12)

    def test_many_pairs(self):
        """A million pairs are no harder, and agree with the normal approximation."""
        z = (501_000 - 499_000) / math.sqrt(1_000_000)
        assert mcnemar(501_000, 499_000) == pytest.approx(2 * scipy.stats.norm.sf(z), rel=1e-3)


def tango_by_search(b: int, c: int, n: int, z: float) -> tuple[float, float]:
    """A textbook Tango: the nuisance probability by numeric maximum likelihood, the ends by a root finder."""

    def statistic(delta: float) -> float:
        def loss(p21: float) -> float:
            cells = (b, p21 + delta), (c, p21), (n - b - c, 1 - 2 * p21 - delta)
            return -sum(k * math.log(max(p, 1e-300)) for k, p in cells if k)

        low, high = max(0.0, -delta), (1 - delta) / 2
        p21 = scipy.optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
        variance = n * (2 * p21 + delta - delta**2)
        return (b - c - n * delta) / math.sqrt(max(variance, 1e-300))

    estimate = (b - c) / n
    low = scipy.optimize.brentq(lambda d: statistic(d) - z, -1 + 1e-9, estimate)
    high = scipy.optimize.brentq(lambda d: statistic(d) + z, estimate, 1 - 1e-9)
    return low, high


class TestTango:
    @pytest.mark.parametrize(("both", "b", "c", "neither"), [(30, 12, 5, 3), (5, 1, 9, 2), (43, 0, 7, 4), (0, 6, 6, 1)])
    def test_equals_a_textbook_search(self, both, b, c, neither):
        """The closed form of the nuisance probability and the bisection give what a numeric search gives."""
        made = paired_binary_interval(both, b, c, neither)
        low, high = tango_by_search(b, c, both + b + c + neither, scipy.stats.norm.ppf(0.975))
        assert (made.low, made.high) == (pytest.approx(low, abs=2e-4), pytest.approx(high, abs=2e-4))

    @given(counts, counts, counts, counts)
    def test_mirror(self, both, b, c, neither):
        """Exchanging before and after mirrors the interval, exactly; it holds the estimate, within [-1, 1]."""
        if both + b + c + neither == 0:
            return
        made = paired_binary_interval(both, b, c, neither)
        assert -made == paired_binary_interval(both, c, b, neither)
        assert -1 <= made.low <= made.value <= made.high <= 1
        assert made.low < made.high

    def test_no_discordant_pair(self):
        """All ties give +- z^2 / (n + z^2), not a point."""
        z2 = scipy.stats.norm.ppf(0.975) ** 2
        assert paired_binary_interval(10, 0, 0, 10).high == pytest.approx(z2 / (20 + z2), abs=1e-9)

    @pytest.mark.parametrize(("p_won", "p_lost"), [(0.1, 0.05), (0.3, 0.1), (0.02, 0.02), (0.2, 0.0)])
    def test_exact_coverage(self, p_won, p_lost):
        """At n = 60 the interval covers 93 to 99 % over all possible tables."""
        n, cover, total = 60, 0.0, 0.0
        for b in range(n + 1):
            for c in range(n + 1 - b):
                weight = scipy.stats.multinomial.pmf([b, c, n - b - c], n, [p_won, p_lost, 1 - p_won - p_lost])
                if weight < 1e-7:
                    continue
                made = paired_binary_interval(0, b, c, n - b - c)
                total += weight
                cover += weight * (made.low <= p_won - p_lost <= made.high)
        assert 0.93 < cover / total < 0.99


class TestMeans:
    @pytest.mark.parametrize("kind", ["binary", "grades", "continuous"])
    def test_bca_equals_scipy(self, kind):
        """Ends agree with scipy's BCa within Monte-Carlo error."""
        rng = np.random.default_rng(3)
        values = {
            "binary": rng.random(300) < 0.85,
            "grades": rng.choice([1, 3, 4, 5], 300, p=[0.1, 0.1, 0.3, 0.5]),
            "continuous": rng.exponential(size=400),
        }[kind].astype(float)
        made = mean_interval(values)
        peer = scipy.stats.bootstrap(
            (values,), np.mean, method="BCa", n_resamples=10_000, batch=500, rng=np.random.default_rng(1)
        ).confidence_interval
        width = peer.high - peer.low
        assert made.value == pytest.approx(values.mean())
        assert abs(made.low - peer.low) < 0.05 * width
        assert abs(made.high - peer.high) < 0.05 * width
        assert (made.method, made.resamples, made.seed) == ("bca", 10_000, 0)

    @given(grades)
    @settings(max_examples=40)
    def test_order_and_direction(self, pairs):
        """Row order changes nothing; exchanging before and after mirrors the interval and keeps the p-value."""
        a, b = zip(*pairs, strict=True)
        made = paired_interval(a, b, resamples=200)
        assert paired_interval(a[::-1], b[::-1], resamples=200) == made
        assert paired_interval(b, a, resamples=200) == -made
        assert made.value == pytest.approx(np.mean(b) - np.mean(a))
        p = sign_flip(a, b)
        assert p == sign_flip(b, a) == sign_flip(a[::-1], b[::-1])
        assert 0 < p <= 1

    def test_ties_are_tango(self):
        """Equal scores on both sides give what Tango gives: an interval, not a point."""
        made = paired_interval([0, 1, 1, 1], [0, 1, 1, 1])
        tango = paired_binary_interval(3, 0, 0, 1)
        assert (made.low, made.high, made.method) == (
            pytest.approx(tango.low, abs=1e-9), pytest.approx(tango.high, abs=1e-9), "no variation",
        )  # fmt: skip

    def test_all_equal(self):
        """All grades 5 of 5 are no proof of 5: the interval reaches down and never past the scale."""
        made = mean_interval([5.0] * 20, bounds=(1, 5))
        assert made.low < 5 == made.value == made.high
        assert mean_interval([5.0] * 20).low == 5

    @pytest.mark.parametrize("values", [[], [math.nan], [[1.0]], [math.inf, 1]])
    def test_no_number(self, values):
        """Nothing, NaN and infinity are refused."""
        with pytest.raises(PlanError):
            mean_interval(values)

    def test_length(self):
        """Pairs need two sides."""
        with pytest.raises(PlanError, match="one for each of a"):
            paired_interval([1, 2], [1])

    def test_coverage(self):
        """BCa of the paired difference of grades at n = 80 covers the truth in 92 to 98 of 100 data sets."""
        rng = np.random.default_rng(11)
        values, p = np.array([-1.0, 0, 1, 3]), np.array([0.1, 0.5, 0.3, 0.1])
        hits = [
            made.low <= values @ p <= made.high
            for seed in range(500)
            if (made := mean_interval(rng.choice(values, 80, p=p), resamples=1000, seed=seed))
        ]
        assert 0.92 < np.mean(hits) < 0.98


class TestSignFlip:
    @given(grades.filter(lambda pairs: 2 <= len(pairs) <= 9))
    @settings(max_examples=30, deadline=None)
    def test_equals_scipy_exactly(self, pairs):
        """For few rows the p-value is scipy's exact one."""
        a, b = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
        peer = scipy.stats.permutation_test(
            (a, b), lambda x, y, axis: np.mean(y - x, axis=axis), permutation_type="samples", vectorized=True,
            n_resamples=np.inf,
        ).pvalue  # fmt: skip
        assert sign_flip(a, b) == pytest.approx(min(1.0, peer), abs=1e-12)

    def test_right_and_wrong_is_binomial(self):
        """Differences of one size are tosses of a coin."""
        a, b = np.zeros(40), np.array([1] * 25 + [-1] * 9 + [0] * 6)
        assert sign_flip(a, b) == pytest.approx(scipy.stats.binomtest(25, 34).pvalue, abs=1e-12)

    def test_random_signs_agree_with_the_exact_test(self):
        """Beyond the exact cases random signs give the same p within Monte-Carlo error."""
        rng = np.random.default_rng(5)
        a, b = rng.normal(size=300), rng.normal(0.12, 1, size=300)
        peer = scipy.stats.permutation_test(
            (a, b), lambda x, y, axis: np.mean(y - x, axis=axis), permutation_type="samples", vectorized=True,
            n_resamples=20_000, batch=1000, rng=1,
        ).pvalue  # fmt: skip
        assert sign_flip(a, b, resamples=20_000) == pytest.approx(peer, abs=0.02)
        assert sign_flip(a, b) == sign_flip(a, b, seed=0)

    def test_level(self):
        """Under the null hypothesis p is below .05 in about 5 % of data sets."""
        rng = np.random.default_rng(2)
        low = [sign_flip(np.zeros(40), rng.normal(size=40), resamples=400, seed=seed) < 0.05 for seed in range(600)]
        assert 0.025 < np.mean(low) < 0.075

    def test_never_zero(self):
        """A large effect has a small p, not none; all ties have p = 1."""
        rng = np.random.default_rng(0)
        assert sign_flip(np.zeros(200), 5 + rng.random(200)) > 0
        assert sign_flip([1, 2], [1, 2]) == 1.0


class TestMacroF1:
    @staticmethod
    def rows(n=400, k=5, quality=0.7, seed=0):
        rng = np.random.default_rng(seed)
        truth = rng.choice(k, n, p=np.arange(1, k + 1) / (k * (k + 1) / 2))
        given = np.where(rng.random(n) < quality, truth, rng.integers(0, k + 1, n))
        return [f"l{at}" for at in given], [f"l{at}" for at in truth]

    def test_interval_equals_a_bootstrap_over_rows(self):
        """Drawing cells is drawing rows: percentile ends of a sklearn loop lie at BCa's, within its correction."""
        predictions, references = map(np.array, self.rows())
        made = macro_f1_interval(list(predictions), list(references))
        labels = sorted(set(references))
        assert made.value == pytest.approx(f1_score(references, predictions, labels=labels, average="macro"))
        rng = np.random.default_rng(1)
        loop = []
        for _ in range(300):
            at = rng.integers(0, len(references), len(references))
            loop.append(f1_score(references[at], predictions[at], labels=sorted(set(references[at])), average="macro"))
        spread = np.std(loop)
        assert (made.high - made.low) == pytest.approx(2 * 1.96 * spread, rel=0.15)

    def test_mirror_and_order(self):
        """Exchanging sides mirrors the interval and keeps p; row order changes nothing."""
        before, references = self.rows(120, quality=0.5)
        after, _ = self.rows(120, quality=0.8)
        made = macro_f1_difference(before, after, references, resamples=500)
        assert macro_f1_difference(after, before, references, resamples=500) == -made
        assert macro_f1_difference(before[::-1], after[::-1], references[::-1], resamples=500) == made
        p = macro_f1_swap(before, after, references, resamples=500)
        assert p == macro_f1_swap(after, before, references, resamples=500)

    @given(st.lists(st.tuples(*[st.sampled_from("abc")] * 3), min_size=1, max_size=12))
    @settings(max_examples=40, deadline=None)
    def test_mirror_of_any_rows(self, rows):
        """The mirror image is exact for any few rows, those that are their own mirror image among them."""
        before, after, references = zip(*rows, strict=True)
        made = macro_f1_difference(before, after, references, resamples=100)
        assert macro_f1_difference(after, before, references, resamples=100) == -made
        p = macro_f1_swap(before, after, references, resamples=100)
        assert p == macro_f1_swap(after, before, references, resamples=100)

    def test_swap_equals_scipy(self):
        """The permutation p agrees with scipy's over rows and sklearn's F1."""
        before, references = self.rows(60, k=3, quality=0.6, seed=4)
        after, _ = self.rows(60, k=3, quality=0.7, seed=4)
        truth, a, b = (np.array(side) for side in (references, before, after))
        labels = sorted(set(references))

        def difference(x, y):
            score = [f1_score(truth, side, labels=labels, average="macro") for side in (x, y)]
            return score[1] - score[0]

        peer = scipy.stats.permutation_test(
            (a, b), difference, permutation_type="samples", vectorized=False, n_resamples=400, rng=0
        ).pvalue
        assert macro_f1_swap(before, after, references) == pytest.approx(peer, abs=0.1)

    def test_equal_sides(self):
        """Equal predictions have p = 1 and an interval around 0 that is not a point."""
        before, references = self.rows(50)
        made = macro_f1_difference(before, before, references)
        assert macro_f1_swap(before, before, references) == 1.0
        assert made.low < made.value == 0 < made.high

    def test_perfect(self):
        """All right is 1, with a lower end that knows about small n."""
        made = macro_f1_interval(["a", "b"] * 10, ["a", "b"] * 10)
        assert made.value == made.high == 1
        assert 0.7 < made.low < 1


class TestPower:
    @pytest.mark.parametrize(("n", "points"), [(100, 0.089), (300, 0.051), (1000, 0.028), (3000, 0.016)])
    def test_table(self, n, points):
        """With 10 % discordant pairs: the table of the design."""
        assert minimum_detectable(n, discordant=0.1) == pytest.approx(points, abs=5e-4)

    @given(st.integers(10, 100_000), st.floats(0, 1))
    def test_inverse(self, n, discordant):
        """`needed_n` of what n rows can show is n."""
        effect = minimum_detectable(n, discordant=discordant)
        assert 0 < effect <= 1
        assert effect == 1 or abs(needed_n(effect, discordant=discordant) - n) <= 1

    def test_power_by_simulation(self):
        """McNemar finds the smallest detectable difference in some 80 % of test sets of that size."""
        n, discordant = 400, 0.2
        effect = minimum_detectable(n, discordant=discordant)
        p = [(discordant + effect) / 2, (discordant - effect) / 2, 1 - discordant]
        tables = np.random.default_rng(0).multinomial(n, p, size=600)
        assert 0.75 < np.mean([mcnemar(b, c) < 0.05 for b, c, _ in tables.tolist()]) < 0.87

    @pytest.mark.parametrize("effect", [0, 2, math.nan])
    def test_no_effect(self, effect):
        """No number of rows shows nothing."""
        with pytest.raises(PlanError):
            needed_n(effect)

    @settings(max_examples=20, deadline=None)
    @given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
    def test_holm_equals_statsmodels(self, pvalues):
        """Adjusted p-values are statsmodels', in the order given."""
        assert holm(pvalues) == pytest.approx(multipletests(pvalues, method="holm")[1])

    def test_holm_of_nothing(self):
        """No tests need no correction; a p-value that is none is refused."""
        assert holm([]) == ()
        with pytest.raises(PlanError):
            holm([math.nan])
