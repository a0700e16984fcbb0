"""What all machines that fit say together: the effective number of fitted parameters, and intervals of what was not used."""

import math

import pytest

from etasim.config import load_architecture
from etasim.explore.calibration_space import AS_IT_IS
from etasim.explore.fitting import independent_figures, predictions
from etasim.explore.fitting_tables import judged_table, predicted_table, searched
from etasim.machine.result import TypedRow
from etasim.report.board import board_rows

NETWORKS = ("x", "y", "z")


def percent(factor):
    return 100 * (factor - 1)


def test_figures_that_move_together_count_once_and_those_that_stand_still_not_at_all():
    together = [{"x": percent(f), "y": percent(f), "z": 0.0} for f in (0.5, 0.7, 1.0, 1.5, 2.0)]
    assert independent_figures(together, NETWORKS, 3) == pytest.approx(1, abs=0.01)
    alone = [{"x": percent(a), "y": percent(b), "z": 0.0} for a in (0.5, 1, 2) for b in (0.5, 1, 2)]
    assert independent_figures(alone, NETWORKS, 3) == pytest.approx(2, abs=0.02)
    assert independent_figures([{"x": 0.0, "y": 0.0, "z": 0.0}] * 4, NETWORKS, 3) == 0


def test_a_figure_that_spreads_as_far_as_the_tolerance_is_half_fitted():
    """lambda = t^2: of two machines at +-s the variance is 2 s^2."""
    step = math.log(1.03) / math.sqrt(2)
    pair = [{"x": percent(math.exp(sign * step))} for sign in (1, -1)]
    assert independent_figures(pair, ["x"], 3) == pytest.approx(0.5)
    assert independent_figures(pair[:1], ["x"], 3) is None


def row(label, network, fidelity, batch, gops, watt=8.0, status="ok"):
    figures = {"throughput_gops": gops, "power_w": watt} if status == "ok" else {}
    return TypedRow({"label": label, "network": network, "fidelity": fidelity, "batch": batch, "status": status, **figures})


ROWS = [
    row("a", "resnet20_cifar", "cycle", 8, 650.0, 8.0), row("b", "resnet20_cifar", "cycle", 16, 660.0, 9.0),
    row("a", "resnet20_cifar", "analytical", 1, 400.0), row("b", "resnet20_cifar", "analytical", 1, 300.0),
    row("a", "resnet50_imagenet", "analytical", 8, 700.0), row("b", "resnet50_imagenet", "analytical", 16, None, status="infeasible"),
]  # fmt: skip


def test_predictions_are_intervals_over_all_machines_that_fit():
    machines = {"a": load_architecture("eta_vc709"), "b": load_architecture("eta_vc709", {"unified_core.lanes": 32})}
    beside = {"z": [row("a", "resnet20_cifar", "cycle", 8, 410.0, 9.5), row("b", "resnet20_cifar", "cycle", 16, 430.0, 9.0)]}
    every = predictions(ROWS, beside, machines, "b")
    elsewhere = {e["figure"]: (e["network"], e["n"], e["least"], e["greatest"], e["chosen"]) for e in every if e["neighbour"] == "z"}
    assert elsewhere == {"throughput_gops": ("resnet20_cifar", 2, 410.0, 430.0, 430.0), "power_w": ("resnet20_cifar", 2, 9.0, 9.5, 9.0)}
    found = [e for e in every if e["neighbour"] is None]
    table = {(e["figure"], e["network"], e["batch"]): (e["n"], e["least"], e["greatest"], e["chosen"]) for e in found}
    assert table["power_w", "resnet20_cifar", None] == (2, 8.0, 9.0, 9.0)
    assert table["throughput_gops", "resnet20_cifar", 1] == (2, 300.0, 400.0, 300.0)
    assert table["throughput_gops", "resnet50_imagenet", None] == (1, 700.0, 700.0, None)
    dsp = [board_rows(machine)[0]["used"] for machine in machines.values()]
    assert table["DSP48E1", None, None] == (2, min(dsp), max(dsp), dsp[1])
    assert ("power_w", "resnet50_imagenet", None) not in table, "an estimate is asked for the throughput alone"


FOUND = {
    "networks": ["x"], "tolerance_percent": 3, "n_candidates": 1000, "n_screened": 400, "n_screened_fits": 4, "independent_figures": 0.5,
    "chosen": "lanes=2", "unknowns": [{"name": "lanes", "values": 3}],
    "simulated": [
        {"label": "lanes=2", "errors_percent": {"x": 0.1}, "worst_percent": 0.1, "fits": True},
        {"label": "lanes=1", "errors_percent": {"x": 1.0}, "worst_percent": 1.0, "fits": True},
        {"label": AS_IT_IS, "errors_percent": {"x": 9.0}, "worst_percent": 9.0, "fits": False},
        {"label": "lanes=9", "errors_percent": {"x": 50.0}, "worst_percent": 50.0, "fits": False},
    ],
    "predictions": [
        {
            "figure": "throughput_gops", "neighbour": None, "network": "x", "batch": None, "fidelity": "cycle", "n": 2, "least": 1,
            "greatest": 2, "chosen": 1,
        },
        {
            "figure": "throughput_gops", "neighbour": "vc706_8bit", "network": "resnet20_cifar", "batch": None, "fidelity": "cycle", "n": 2,
            "least": 400, "greatest": 440, "chosen": 430,
        },
        {
            "figure": "LUT", "neighbour": None, "network": None, "batch": None, "fidelity": None, "n": 2, "least": 10, "greatest": 20000,
            "chosen": None,
        },
    ],
}  # fmt: skip


def test_the_tables_say_which_machine_was_chosen_and_what_was_fitted_is_no_prediction():
    assert [line[0] for line in judged_table(FOUND)[1:]] == ["lanes=2", "lanes=1", AS_IT_IS]
    assert [line[-1] for line in judged_table(FOUND)[1:]] == ["chosen", "fits", ""]
    assert predicted_table(FOUND)[1:] == [
        ["throughput [GOPS]", "resnet20_cifar on vc706_8bit", "-", "2", "400", "440", "430", "421", "cycle model"],
        ["LUT", "the board", "-", "2", "10", "20,000", "-", "-", "laws fitted to synthesis"],
    ]
    said = searched(FOUND)
    assert "Of 1,000 machines the board holds 400" in said
    assert "4 (1.0 %) fit" in said
    assert "0.50 of 1 figures independently" in said
