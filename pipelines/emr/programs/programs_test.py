"""Tests of the programs without Spark: python3 -m unittest discover -s pipelines/emr/programs -p '*_test.py'

The Go tests of package judge run them, and the programs on real Spark.
"""
import csv
import inspect
import math
import os
import sys
import unittest

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import model  # noqa: E402
import preprocessing  # noqa: E402


def readings(n, seed=1):
    """Rows with three sorts of traffic and some zeros."""
    r = np.random.default_rng(seed)
    kind = r.integers(0, 3, n)
    centre = np.array([[20, 62, 2], [110, 61, 9], [120, 30, 25]])[kind]
    x = np.maximum(1, centre + r.normal(size=(n, 3)) * [6, 3, 1.5])
    x[r.random(n) < 0.05] = 0
    ids = np.column_stack([np.full(n, 5), np.full(n, 101), 1011 + np.arange(n) % 3, np.full(n, 60), np.full(n, 0), np.arange(n) // 3 * 5])
    return np.column_stack([ids, x.round(1)])


class Shared(unittest.TestCase):
    def test_same_source(self):
        for name in ("parse", "select", "filesystem", "write", "load"):
            self.assertEqual(inspect.getsource(getattr(model, name)), inspect.getsource(getattr(preprocessing, name)), name)

    def test_parse(self):
        good = "5,101,1011,60,0,0,2,61.0,0.2"
        rows, refused = model.parse([good, "", good])
        self.assertEqual((rows.shape, refused), ((2, 9), 0))
        rows, refused = model.parse([good, "highway,station", "1,2,3", good + ",9", "5,101,1011,60,0,0,2,nan,0.2", good])
        self.assertEqual((rows.shape, refused), ((2, 9), 4))
        rows, refused = model.parse([])
        self.assertEqual((rows.shape, refused), ((0, 9), 0))
        rows, refused = model.parse(["x"])
        self.assertEqual((rows.shape, refused), ((0, 9), 1))

    def test_select(self):
        rows = np.zeros((7, 9))
        rows[:, 4] = np.arange(7)
        self.assertEqual([len(model.select(rows, m)) for m in ("TRAINING", "WEEKDAYS", "WEEKENDS")], [7, 5, 2])


class OriginalScores(unittest.TestCase):
    """The original program's arithmetic, written anew from its description: loops, np.cov, np.linalg.inv."""

    def reference(self, rows, centres):
        out = []
        cluster = []
        for row in rows:
            x = row[6:9]
            cluster.append(-1 if not x.any() else min(range(len(centres)), key=lambda c: math.dist(x, centres[c])))
        inverse = [np.linalg.inv(np.cov(rows[np.array(cluster) == c, 6:9], rowvar=False)) for c in range(len(centres))]
        for row, c in zip(rows, cluster):
            if c < 0:
                out.append(list(row) + [-1, 0, 0, 0, math.nan])
                continue
            d = row[6:9] - centres[c]
            out.append(list(row) + [c] + list(centres[c]) + [math.sqrt(d @ inverse[c] @ d)])
        return [",".join("%.2f" % v for v in line) for line in out]

    def scores(self, rows, centres, scale):
        """As the program computes them: the moments of partitions are added."""
        k = len(centres)
        total = None
        for part in np.array_split(rows, 4):
            x = part[:, 6:]
            m = model.moments(x, model.assign(x, centres, scale), k)
            total = m if total is None else tuple(a + b for a, b in zip(total, m))
        inverses = model.inverse_covariances(*total)
        x = rows[:, 6:]
        cluster = model.assign(x, centres, scale)
        return model.score_lines(rows, cluster, centres, model.distances(x, cluster, centres, inverses))

    def test_two_decimals(self):
        rows = readings(3000)
        centres = np.array([[21.5, 61.0, 2.2], [108.0, 60.5, 9.5], [118.0, 31.0, 24.0]])
        got, want = self.scores(rows, centres, np.ones(3)), self.reference(rows, centres)
        self.assertEqual(len(got), 3000)
        self.assertEqual(len(got[0].split(",")), 14)
        for a, b in zip(got, want):
            fa, fb = a.split(","), b.split(",")
            self.assertEqual(fa[:13], fb[:13])
            if fb[13] == "nan":
                self.assertEqual(fa[13], "nan")
            else:  # a rounding may fall either way
                self.assertLessEqual(abs(float(fa[13]) - float(fb[13])), 0.0101)
        self.assertGreater(sum(a == b for a, b in zip(got, want)), 2990)

    def test_zero_rows_belong_to_nobody(self):
        rows = readings(300)
        rows[:10, 6:] = 0
        lines = self.scores(rows, np.array([[50.0, 50, 5]]), np.ones(3))
        self.assertTrue(lines[0].endswith(",-1.00,0.00,0.00,0.00,nan"), lines[0])

    def test_flat_and_lonely_clusters(self):
        rows = np.zeros((5, 9))
        rows[:, 6:] = [[10, 60, 1], [10, 60, 1], [10, 60, 1], [100, 20, 40], [0, 0, 0]]
        centres = np.array([[10.0, 60, 1], [100, 20, 40], [500, 500, 500]])  # flat, one member, nobody
        for line in self.scores(rows, centres, np.ones(3))[:4]:
            self.assertEqual(line.split(",")[-1], "0.00")


class KMeans(unittest.TestCase):
    def run_it(self, x, maxk, seed=1):
        parts = np.array_split(x, 3)

        def iterate(tables):
            total = None
            for p in parts:
                s = [preprocessing.step(p, c) for c in tables]
                total = s if total is None else preprocessing.add(total, s)
            return total

        return preprocessing.cluster(iterate, x[::2], maxk, seed)

    def test_finds_what_is_there(self):
        r = np.random.default_rng(2)
        truth = np.array([[-2.0, 0, 0], [2, 0, 0], [0, 3, 0]])
        x = np.concatenate([c + r.normal(size=(300, 3)) * 0.2 for c in truth])
        best = self.run_it(x, 6)
        self.assertEqual(sorted(best), [1, 2, 3, 4, 5, 6])
        self.assertEqual(preprocessing.choose({k: t["cost"] for k, t in best.items()}), 3)
        np.testing.assert_allclose(best[3]["centres"], truth[np.lexsort(truth.T[::-1])], atol=0.1)
        self.assertEqual(best[3]["count"].sum(), 900)
        again = self.run_it(x, 6)
        for k in best:
            np.testing.assert_array_equal(best[k]["centres"], again[k]["centres"])
        costs = [best[k]["cost"] for k in sorted(best)]
        self.assertEqual(costs, sorted(costs, reverse=True))

    def test_fewer_points_than_clusters(self):
        best = self.run_it(np.array([[0.0, 0, 0]] * 5 + [[1, 1, 1]] * 5), 4)
        self.assertEqual(sorted(best), [1, 2])
        self.assertEqual(preprocessing.choose({k: t["cost"] for k, t in best.items()}), 2)
        self.assertEqual(sorted(self.run_it(np.ones((4, 3)), 3)), [1])

    def test_choose(self):
        self.assertEqual(preprocessing.choose({1: 10.0}), 1)
        self.assertEqual(preprocessing.choose({1: 0.0, 2: 0.0, 3: 0.0}), 1)
        self.assertEqual(preprocessing.choose({1: 100.0, 2: 20.0, 3: 15.0, 4: 12.0, 5: 10.0}), 2)

    def test_table(self):
        x = np.concatenate([np.random.default_rng(3).normal(size=(50, 3)), 5 + np.random.default_rng(4).normal(size=(50, 3))])
        best = self.run_it(x, 2)
        lines = preprocessing.table("A", "in", 120, 100, best, np.zeros(3), np.ones(3)).splitlines()
        self.assertEqual(lines[0], "----Input file: in; 120 lines, 100 selected. ")
        self.assertEqual(lines[1], "runid,WSSSE,k,cluster,count,mn:vol,mn:spd,mn:occ,stddv:vol,stddv:spd,stddv:occ")
        self.assertEqual(len(lines), 5)
        rows = list(csv.reader(lines[2:]))
        self.assertEqual([len(r) for r in rows], [11] * 3)
        whole = rows[0]
        self.assertEqual(whole[5:8], ["%.1f" % v for v in x.mean(axis=0)])
        self.assertEqual(whole[8:], ["%.1f" % v for v in x.std(axis=0, ddof=1)])


class Detector(unittest.TestCase):
    """Each kind of fault put into clean readings of one station."""

    def station(self, days=3):
        r = np.random.default_rng(7)
        rows = []
        for day in range(days):
            for b in range(288):
                level = 10 + 110 * math.exp(-((b - 150) / 60) ** 2)
                for lane in range(3):
                    v = max(1, r.poisson(level))
                    s = 62 + lane + 5 * r.normal() / math.sqrt(v)
                    o = v * 12 / s * 22 / 5280 * 100 * (1 + 0.03 * r.normal() + 0.2 * r.normal() / math.sqrt(v))
                    rows.append([5, 101, 1011 + lane, 61 + day, (1 + day) % 7, b * 5, v, round(s, 1), max(0.1, round(o, 1))])
        return np.array(rows, float)

    def flagged(self, rows):
        score, kind = model.detect(rows)
        return score >= model.THRESHOLD, np.array([model.KINDS[k] for k in kind])

    def window(self, rows, day=62, begin=600, end=780):
        return (rows[:, 2] == 1012) & (rows[:, 3] == day) & (rows[:, 5] >= begin) & (rows[:, 5] < end)

    def check(self, change, kinds, least=0.95, **window):
        rows = self.station()
        w = self.window(rows, **window)
        change(rows, w)
        bad, kind = self.flagged(rows)
        self.assertGreaterEqual(bad[w].mean(), least)
        self.assertLess(bad[~w].mean(), 0.01)
        self.assertTrue(set(kind[w & bad]) & set(kinds), set(kind[w & bad]))

    def test_clean(self):
        bad, _ = self.flagged(self.station())
        self.assertLess(bad.mean(), 0.003)

    def test_dead(self):
        def dead(rows, w):
            rows[w, 6:] = 0
        self.check(dead, ["dead"], 1.0)
        self.check(dead, ["dead"], 1.0, begin=600, end=630)

    def test_all_lanes_dead(self):
        rows = self.station()
        w = (rows[:, 3] == 62) & (rows[:, 5] >= 600) & (rows[:, 5] < 660)
        rows[w, 6:] = 0
        bad, _ = self.flagged(rows)
        self.assertTrue(bad[w].all())

    def test_quiet_night_is_no_fault(self):
        rows = self.station()
        w = (rows[:, 5] < 240)
        rows[w, 6:] = 0  # every night, every lane
        bad, _ = self.flagged(rows)
        self.assertLess(bad[w].mean(), 0.05)

    def test_stuck(self):
        def stuck(rows, w):
            rows[w, 6:] = rows[np.nonzero(w)[0][0], 6:]
        self.check(stuck, ["repeated"])

    def test_speed(self):
        for factor in (0.45, 1.45, 1.609):
            def biased(rows, w):
                rows[w, 7] = (rows[w, 7] * factor).round(1)
            self.check(biased, ["speed", "occupancy", "count"])

    def test_occupancy(self):
        def high(rows, w):
            rows[w, 8] += 30
        self.check(high, ["occupancy"])

    def test_chatter(self):
        def chatter(rows, w):
            rows[w, 6] = (rows[w, 6] * 2).round()
        self.check(chatter, ["count"])

    def test_range(self):
        def wild(rows, w):
            rows[w, 6] = 400
        self.check(wild, ["range"])

    def test_congestion_is_no_fault(self):
        rows = self.station()
        w = (rows[:, 3] == 62) & (rows[:, 5] >= 600) & (rows[:, 5] < 780)
        rows[w, 7] = (rows[w, 7] * 0.4).round(1)
        rows[w, 8] = (rows[w, 8] / 0.4).round(1)
        bad, _ = self.flagged(rows)
        self.assertLess(bad[w].mean(), 0.05)

    def test_odd_data(self):
        one = self.station(1)[:1]
        for rows in (one, np.repeat(one, 3, axis=0), self.station(1)[::7]):
            score, kind = model.detect(rows)
            self.assertEqual((len(score), len(kind)), (len(rows), len(rows)))
            self.assertTrue(np.isfinite(score).all())

    def test_lines(self):
        rows = self.station(1)
        rows[5, 8] = 99
        ordered, score, kind = model.detect_sorted([rows[:100], rows[100:]])
        lines = model.anomaly_lines(ordered, score, kind)
        self.assertTrue(any(line.startswith("5,101,1013,61,5,") and ",99,occupancy," in line for line in lines), lines)
        self.assertTrue(all(len(line.split(",")) == len(model.ANOMALY_COLUMNS.split(",")) for line in lines))


if __name__ == "__main__":
    unittest.main()
