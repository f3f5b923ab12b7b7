"""`make bench-scores`: how right the scores are, where the truth is known, and beside what others make of the same rows.

Simulated worlds go the way a user's export goes (export, ingest, clean, features, train, predict at the as-of); the truth beside them gives what could be
attained at all. Then two flat tables of real deals, and the time a replay takes. Each figure is printed when it is known.

    python -m tests.benchmarks.scores [--parts worlds,flat,replay] [--worlds 5] [--opportunities 20000] [--keep FOLDER] [--peer-seconds 240]
"""

from __future__ import annotations

import argparse
import math
import resource
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.stats import t as student

from sales_pipeline.models.metrics import log_losses
from tests.benchmarks.flat_tables import bench_flat
from tests.benchmarks.judging import Floats, judge, open_rows
from tests.benchmarks.peers import Peer, autogluon, library_peers, rows_of, simple_peers
from tests.benchmarks.replays import bench_replay
from tests.benchmarks.worlds import WORLDS, World, prepare_world, world_params

OURS = "Sales Pipeline"
PARTS = ("worlds", "flat", "replay")
RIVALS = ("logistic regression", "LightGBM defaults", "AutoGluon")
HEADER = (
    ("loss", "log_loss"),
    ("gain", "gain_share"),
    ("AUC", "auc"),
    ("ECE", "calibration_error"),
    ("O/E", "observed_to_expected"),
    ("loss*", "true_log_loss"),
    ("gain*", "true_gain_share"),
    ("AUC*", "true_auc"),
    ("ECE*", "true_calibration_error"),
    ("O/E*", "true_observed_to_expected"),
)
LEGEND = """gain: (base - model) / (base - truth) in log loss, base being the best constant on the judged rows. ECE: calibration error, 10 bins of equal mass.
O/E: observed over expected wins. With *: under the true probabilities (the exact mean over the chance of each deal), without: on the outcomes that came.
The truth knows the hidden state of every deal; no model can reach a gain of 1. All others learn from every closed landmark row the leak ledger allows."""


@dataclass(frozen=True)
class Judged:
    """All figures of one world by competitor; `losses` are the expected log losses per row, for paired comparisons."""

    name: str
    figures: Mapping[str, Mapping[str, float]]
    losses: Mapping[str, Floats]


def score(world: World) -> tuple[pa.Table, str, float, float]:
    """PREDICTIONS of the world's open opportunities by a model trained on it; what was chosen; wall and CPU seconds of both."""
    from sales_pipeline.models.predict import predict
    from sales_pipeline.models.store import NullRecorder
    from sales_pipeline.models.train import train

    wall, cpu = time.perf_counter(), time.process_time()
    model = train(
        world.features_training,
        world.ledger,
        world.settings.training,
        models=world.folder / "models",
        recorder=NullRecorder(),
    )
    predictions = predict(model.path, world.features_scoring)
    win = model.card["win"]
    chosen = f"{win['choice']} ({win.get('setting', '')}), {win['evidence_level']}"
    if win["evidence_level"] != "full_model":
        chosen += f": {win['why']}"
    return predictions, chosen, time.perf_counter() - wall, time.process_time() - cpu


def bench_world(name: str, world: World, peer_seconds: float) -> Judged:
    """Print and return the figures of one world."""
    rows = rows_of(world)
    print(
        f"\nworld '{name}': {world.params.opportunities:,} opportunities, {len(rows.won):,} closed landmark rows, "
        f"{len(rows.test):,} open at the as-of",
        flush=True,
    )
    print(f"  {'':<20}" + "".join(f"{label:>7}" for label, _ in HEADER) + "   wall s    CPU s", flush=True)
    figures: dict[str, Mapping[str, float]] = {}
    losses: dict[str, Floats] = {}
    true_p = world.truth.loc[open_rows(world).index, "win_probability"].to_numpy()

    def show(label: str, predictions: pa.Table, wall: float = 0.0, cpu: float = 0.0, note: str = "") -> None:
        figures[label] = judge(world, predictions)
        told = predictions.to_pandas().set_index("opportunity_id")["win_probability"]
        p = told.reindex(open_rows(world).index).to_numpy(dtype=np.float64)
        losses[label] = log_losses(true_p, np.where(np.isnan(p), np.nanmean(p), p))
        cells = "".join(f"{figures[label][key]:>7.3f}" for _, key in HEADER)
        print(f"  {label:<20}{cells}  {wall:>7.1f}  {cpu:>7.1f}  {note}".rstrip(), flush=True)

    show("truth", _table(world, true_p))
    for peer in simple_peers(world, rows):
        show(peer.name, _table(world, peer.probability))
    predictions, chosen, wall, cpu = score(world)
    show(OURS, predictions, wall, cpu, chosen)
    others = library_peers(rows)
    others.append(
        autogluon(rows, world.folder / "peers", peer_seconds)
        if peer_seconds
        else Peer("AutoGluon", None, note="not asked for (--peer-seconds)")
    )
    for peer in others:
        if peer.probability is None:
            print(f"  {peer.name:<20}{peer.note}", flush=True)
        else:
            show(peer.name, _table(world, peer.probability), peer.wall, peer.cpu, peer.note)
    _print_rest(figures[OURS])
    return Judged(name, figures, losses)


def _table(world: World, p: Floats | None) -> pa.Table:
    return pa.table({"opportunity_id": pa.array(open_rows(world).index.to_list()), "win_probability": pa.array(p)})


def _print_rest(figures: Mapping[str, float]) -> None:
    """Horizons, amount and dates of our own predictions."""

    def cell(key: str, form: str = ".3f") -> str:
        return f"{figures[key]:{form}}" if key in figures else "none"

    for days in ("30d", "90d"):
        print(
            f"  won within {days}: gain* {cell('true_gain_share_' + days)}, ECE* {cell('true_calibration_error_' + days)}, "
            f"O/E* {cell('true_observed_to_expected_' + days)}"
        )
    print(
        f"  amount if won: 80 % interval covers {cell('amount_coverage', '.1%')}; median-type error {cell('amount_log_error')} "
        f"(CRM's amount {cell('crm_amount_log_error')}), sum to signed {cell('amount_to_signed')} (CRM's {cell('crm_amount_to_signed')})"
    )
    print(
        f"  close date: 80 % interval covers {cell('date_coverage', '.1%')} (too early {cell('date_below', '.1%')}), {cell('date_width_days', '.0f')} days wide; "
        f"error {cell('date_error_days', '.0f')} days (CRM's date {cell('crm_date_error_days', '.0f')})"
    )
    print(
        f"  slip: O/E {cell('slip_observed_to_expected')}, ECE {cell('slip_calibration_error')}, AUC {cell('slip_auc')}; "
        f"abstained {figures['abstained']:.0f} of {figures['rows']:.0f}",
        flush=True,
    )


def summary(worlds: list[Judged]) -> list[str]:
    """Lines on what was reached over the worlds."""
    lines = [
        "",
        f"over {len(worlds)} worlds",
        f"  {'gain*':<20}" + "".join(f"{world.name:>17}" for world in worlds) + f"{'mean':>9}",
    ]
    present = [name for name in worlds[0].figures if all(name in world.figures for world in worlds)]
    for name in present:
        shares = [world.figures[name]["true_gain_share"] for world in worlds]
        lines.append(f"  {name:<20}" + "".join(f"{share:>17.3f}" for share in shares) + f"{np.mean(shares):>9.3f}")
    rivals = [name for name in RIVALS if name in present]
    for name in (*rivals, "CRM probability"):
        lines.append(paired_line(worlds, name, [name]))
    lines.append(paired_line(worlds, "the best of them", rivals))
    for world in worlds:
        best = min(rivals, key=lambda name: float(world.losses[name].mean()))
        difference = world.losses[best] - world.losses[OURS]
        error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
        lines.append(
            f"  {world.name}: loss* of {best} less ours {difference.mean():+.4f} (standard error over rows {error:.4f})"
        )
    return lines + targets(worlds, rivals)


def lead_over(worlds: list[Judged], rivals: list[str]) -> Floats:
    """Per world our share of the attainable gain less that of the best rival there."""
    return np.array(
        [
            world.figures[OURS]["true_gain_share"] - max(world.figures[name]["true_gain_share"] for name in rivals)
            for world in worlds
        ]
    )


def interval(differences: Floats) -> tuple[float, float]:
    """The 95 % interval of their mean (Student); unbounded with a single world."""
    mean = float(differences.mean())
    if len(differences) < 2:
        return -math.inf, math.inf
    reach = float(student.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / np.sqrt(len(differences)))
    return mean - reach, mean + reach


def paired_line(worlds: list[Judged], label: str, rivals: list[str]) -> str:
    """That lead, in the mean over worlds."""
    lead = lead_over(worlds, rivals)
    low, high = interval(lead)
    return f"  gain* less that of {label}: {lead.mean():+.3f} (95 % interval {low:+.3f} to {high:+.3f})"


def targets(worlds: list[Judged], rivals: list[str]) -> list[str]:
    """The figures to reach, one line each."""
    ours = [world.figures[OURS] for world in worlds]

    def line(text: str, reached: bool, found: str) -> str:
        return f"  {'reached' if reached else 'NOT REACHED':<12} {text}: {found}"

    def each(key: str, form: str = ".3f") -> str:
        return ", ".join(f"{row[key]:{form}}" if key in row else "none" for row in ours)

    def within(key: str, low: float, high: float) -> bool:
        return all(key in row and low <= row[key] <= high for row in ours)

    lead = lead_over(worlds, rivals)
    low, high = interval(lead)
    missing = [name for name in RIVALS if name not in rivals]
    among = ", ".join(rivals) + (f" ({', '.join(missing)} not measured)" if missing else "")
    own = ", ".join(f"{world.figures['truth']['calibration_error']:.3f}" for world in worlds)
    beats_crm = [
        world.figures["CRM probability"]["true_log_loss"] - world.figures[OURS]["true_log_loss"] for world in worlds
    ]
    return [
        "figures to reach",
        line(f"at least the best of {among} in every world", min(lead) >= 0, ", ".join(f"{v:+.3f}" for v in lead)),
        line(
            "better than that in the mean, interval above 0", low > 0, f"{lead.mean():+.3f} ({low:+.3f} to {high:+.3f})"
        ),
        line(
            "calibration error at most 0.02, on outcomes",
            within("calibration_error", 0, 0.02),
            each("calibration_error"),
        ),
        line(
            "  the same under the true probabilities",
            within("true_calibration_error", 0, 0.02),
            each("true_calibration_error"),
        ),
        f"  {'(by chance)':<12}   the truth's own on the same outcomes: {own}",
        line(
            "observed over expected within 0.95 to 1.05",
            within("observed_to_expected", 0.95, 1.05),
            each("observed_to_expected"),
        ),
        line(
            "  the same under the true probabilities",
            within("true_observed_to_expected", 0.95, 1.05),
            each("true_observed_to_expected"),
        ),
        line(
            "80 % intervals of amounts cover 75 to 85 %",
            within("amount_coverage", 0.75, 0.85),
            each("amount_coverage", ".1%"),
        ),
        line(
            "80 % intervals of close dates cover 75 to 85 %",
            within("date_coverage", 0.75, 0.85),
            each("date_coverage", ".1%"),
        ),
        line(
            "better than the CRM's own probability (log loss*)",
            min(beats_crm) > 0,
            ", ".join(f"{v:+.3f}" for v in beats_crm),
        ),
    ]


def bench_worlds(worlds: Iterable[tuple[str, World]], peer_seconds: float) -> list[str]:
    """Print the worlds' tables; return their summary."""
    print(LEGEND)
    return summary([bench_world(name, world, peer_seconds) for name, world in worlds])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help="which of " + ", ".join(PARTS))
    parser.add_argument("--worlds", type=int, default=len(WORLDS), help="how many of the five")
    parser.add_argument("--opportunities", type=int, default=20_000)
    parser.add_argument("--keep", type=Path, help="where worlds are kept for the next look")
    parser.add_argument(
        "--as-prepared", action="store_true", help="take kept features although code behind them changed"
    )
    parser.add_argument("--peer-seconds", type=float, default=0.0, help="AutoGluon's time limit; 0: without it")
    given = parser.parse_args()
    parts = given.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--parts: expected some of {', '.join(PARTS)}; found {', '.join(sorted(unknown))}")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch)

        def prepared(name: str) -> World:
            home = folder / f"{name.replace(' ', '-')}-{given.opportunities}"
            return prepare_world(home, world_params(name, given.opportunities), as_prepared=given.as_prepared)

        names = list(WORLDS)[: given.worlds]
        if "worlds" in parts:
            print("\n".join(bench_worlds(((name, prepared(name)) for name in names), given.peer_seconds)), flush=True)
        if "flat" in parts:
            print("\n".join(bench_flat(folder / "flat", given.peer_seconds)), flush=True)
        if "replay" in parts:
            print("\n".join(bench_replay(prepared(names[0]))), flush=True)


if __name__ == "__main__":
    main()
