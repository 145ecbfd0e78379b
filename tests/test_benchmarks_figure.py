"""The figure and the targets of the benchmarks, from made-up rows."""
import math
import random

import pytest

from benchmarks import attack, figure, report, scaling, targets
from benchmarks.__main__ import NAMES

FACTS = {"processor": "Some processor", "kind": "cpu-2-cores", "device": "cpu (x86_64)", "threads": 2,
         "torch": "2.13.0", "date": "2026-11-01 12:00"}


def row(benchmark, setting, contender, ratio=math.nan, role="peer", **others):
    low, high = ratio * 0.95, ratio * 1.05
    return {"benchmark": benchmark, "setting": setting, "contender": contender, "role": role, "reference": "ours",
            "throughput": 100.0 * ratio, "unit": "images/s", "seconds": 1 / ratio, "ratio": ratio, "ratio_q10": low,
            "ratio_q90": high, "rounds": 7, "first_call_seconds": 1.0, "note": "", **others}


def made_up():
    """Rows of all benchmarks, as a complete run would write them."""
    source = random.Random(0)
    tables = {name: [] for name in NAMES}
    for network, (_, _, batches) in attack.CASES["cpu"].items():
        for steps, images in batches.items():
            tables["attack"] += [row("attack", f"{network} PGD-{steps} batch {images}", name,
                                     1.0 if name == "ours" else source.uniform(0.3, 0.8), role)
                                 for name, _, _, role, _ in attack.FIELD]
    tables["attack"] += [row("attack", "agreement W-16-1 PGD-8", "foolbox", max_difference=1e-16)]
    for steps in (8, 2):
        tables["training"] += [row("training", f"W-16-1 PGD-{steps} batch 128", name, ratio) for name, ratio in
                               (("ours", 1.0), ("ours, compiled", 1.1), ("plain loop", 0.45), ("robustness", 0.5))]
    tables["wpgd"] = [row("wpgd", "W-16-1 k = 8 batch 128", "PGD", 1.01)]
    for k in (10, 100, 200, 1000):
        tables["loss"] += [row("loss", f"K = {k}", name, ratio) for name, ratio in
                           (("Wasserstein loss", 1.0), ("cross entropy", 1.3), ("torch cross entropy", 1.4))]
    for k in (10, 100, 200):
        tables["transport"] += [row("transport", f"K = {k} batch 128", name, ratio, max_difference=1e-9)
                                for name, ratio in (("closed form", 1.0), ("emd2", 1 / (5 * k)), ("sinkhorn2", 1e-2),
                                                    ("sinkhorn2, many histograms", 2e-2))]
    tables["limit"] = [row("limit", "PGD-8 step, float32", name, ratio, role, throughput=1e11 * ratio)
                       for name, ratio, role in (("product 4096", 1.0, "limit"), ("convolution 128", 0.9, "limit"),
                                                 ("training step W-16-1", 0.3, "ours"))]
    for axis, values in scaling.AXES.items():
        tables["scaling"] += [row("scaling", axis, "ours", 10 / value, "ours", axis=axis, value=value, before_mib=220.0,
                                  base_value=scaling.BASE[axis], peak_mib=220.0 + 3 * value) for value in values]
    for method in ("PGD", "WPGD p = 1"):
        for path in ("ours", "plain loop"):
            tables["accuracy"] += [row("accuracy", f"{method}, {word}", path, 0.5, ne=source.uniform(8, 10),
                                       ae=source.uniform(30, 33)) for word in ("seed 0", "seed 1", "mean of 3 seeds")]
    return tables


def test_figure_of_a_complete_run(tmp_path):
    for name, rows in made_up().items():
        report.write_csv(tmp_path / f"{name}.csv", rows)
    figure.draw({name: report.read_csv(tmp_path / f"{name}.csv") for name in NAMES}, FACTS, tmp_path)
    assert (tmp_path / "benchmarks.png").stat().st_size > 50_000
    assert (tmp_path / "benchmarks.pdf").read_bytes().startswith(b"%PDF")


def test_figure_without_any_rows(tmp_path):
    figure.draw({name: [] for name in NAMES}, FACTS, tmp_path)
    assert (tmp_path / "benchmarks.png").exists()


@pytest.mark.parametrize("name", NAMES)
def test_figure_of_one_benchmark(tmp_path, name):
    figure.draw({**{other: [] for other in NAMES}, name: made_up()[name]}, FACTS, tmp_path)


def test_rows_survive_their_csv(tmp_path):
    rows = [row("attack", "a, b", "ours", 2.0, note="x"), row("attack", "a, b", "ART", note="failed: no")]
    report.write_csv(tmp_path / "attack.csv", rows)
    again = report.read_csv(tmp_path / "attack.csv")
    assert again[0] == rows[0]
    assert again[1]["note"] == "failed: no" and math.isnan(again[1]["ratio"])


def verdicts(tables, device="cpu"):
    return {one["target"]: (one["value"], one["verdict"]) for one in targets.evaluate(tables, device)}


def test_targets_of_made_up_rows():
    tables = made_up()
    tables["attack"] = [row("attack", "W-16-1 PGD-8 batch 128", "ours", 1.0, "ours"),
                        row("attack", "W-16-1 PGD-8 batch 128", "ART", 0.4),
                        row("attack", "W-16-1 PGD-8 batch 128", "foolbox", 0.5),
                        row("attack", "W-16-1 PGD-8 batch 128", "torchattacks, tuned by hand", 0.9, "tuned"),
                        row("attack", "W-16-1 PGD-20 batch 128", "ours", 1.0, "ours"),
                        row("attack", "W-16-1 PGD-20 batch 128", "foolbox", 0.625),
                        row("attack", "agreement W-16-1 PGD-8", "foolbox", max_difference=2e-5)]
    found = verdicts(tables)
    assert found["attack on W-16-1 over the fastest peer"] == (1.6, "not reached")
    assert found["attack on W-10-1 over the fastest peer"][1] == "not measured"
    assert found["same images as every peer in float64, largest difference"] == (2e-5, "not reached")
    assert found["epoch of PGD-8 on W-16-1 over the plain loop"] == (pytest.approx(1 / 0.45), "reached")
    assert found["WPGD step, time over that of a PGD step"] == (1.01, "reached")
    assert found["Wasserstein loss, time over that of cross entropy"] == (1.3, "reached")
    assert found["closed form over emd2 at K = 200"] == (pytest.approx(1000), "reached")
    assert found["closed form against emd2 at K = 200, largest difference"] == (1e-9, "reached")


def test_targets_of_a_gpu():
    rows = [row("attack", "W-28-10 PGD-8 batch 128", "ours, bf16, compiled", 6.0, "variant"),
            row("attack", "W-28-10 PGD-8 batch 128", "ART", 1.5)]
    limits = [row("limit", "PGD-8 step, bfloat16", "training step W-28-10", 0.44)]
    found = verdicts({"attack": rows, "limit": limits}, "cuda")
    assert found["attack on W-28-10 over the fastest peer"] == (4.0, "reached")
    assert found["training step on W-28-10, share of the bf16 limit"] == (0.44, "not reached")
    assert "attack on W-16-1 over the fastest peer" not in found


def test_a_failed_peer_is_neither_fast_nor_slow():
    rows = [row("attack", "W-16-1 PGD-8 batch 128", "ours", 1.0, "ours"),
            row("attack", "W-16-1 PGD-8 batch 128", "ART", note="failed: no module")]
    assert verdicts({"attack": rows})["attack on W-16-1 over the fastest peer"][1] == "not measured"
