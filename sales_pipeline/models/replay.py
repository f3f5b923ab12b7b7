"""The replay: at each of many past dates train on what was known then, score what was open then, and compare with what came.

It is the one source of the figures in the model card and the report. At every date the champion's recipe, a challenger's and the baselines are fitted
again, on the features, the leak ledger and the outcomes of that date; a full search is made at two dates only. Each date is computed once and kept,
so that a replay that was interrupted goes on where it stopped, and a longer one uses the shorter.

Belongs here: the walk and its rows. Does not belong here: figures from them (`proof`), cutting feature sets (`features.past`).
"""

from __future__ import annotations

import functools
import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sales_pipeline.contracts.internal import REPLAY
from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.machine import one_core
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.features.build import FeatureSet
from sales_pipeline.features.past import known_before, open_at
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef, read_table, table_ref, write_table
from sales_pipeline.models.expected_outcomes import learn_expectations
from sales_pipeline.models.matrix import Floats, Matrix, align, load_matrix
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.predict import predict, win_probabilities
from sales_pipeline.models.stability import dated_rows, meaning_drift
from sales_pipeline.models.store import NullRecorder
from sales_pipeline.models.train import train
from sales_pipeline.models.win import Recipe, Rivals

SEARCHES = 2
MIN_KNOWN_SHARE = 0.85
"""Share of a date's rows that must have closed by the end for the date to count in figures of winning ever."""
_SAID = (
    "win_probability", "win_probability_low", "win_probability_high", "win_probability_30d", "win_probability_90d", "slip_probability",
    "expected_amount", "expected_amount_low", "expected_amount_high", "predicted_close_date", "predicted_close_date_low",
    "predicted_close_date_high", "evidence_level", "abstain_reason",
)  # fmt: skip
_STATE = (
    "opportunity_id", "as_of", "kind", "pipeline", "account_id", "owner_id", "stage", "currency", "amount", "crm_close_date",
    "crm_probability",
)  # fmt: skip


@dataclass(frozen=True)
class Replay:
    """`rows` is REPLAY; `facts` say from, end, every_days, per date what was fitted and on how much, and the recipes."""

    key: str
    rows: TableRef
    facts: dict[str, Any]


def replay_dates(first: AsOf, last: AsOf, every_days: int) -> list[AsOf]:
    """Dates from `last` back in steps, not before `first` and `last` itself left out (nothing has come after it): ascending."""
    step = timedelta(days=every_days)
    found: list[AsOf] = []
    instant = last.instant - step
    while instant >= first.instant:
        found.append(AsOf(instant))
        instant -= step
    return found[::-1]


@one_core()
def replay(
    lake: Lake,
    features: FeatureSet,
    ledger: Callable[[FeatureSet], TableRef],
    params: TrainingParams,
    *,
    first: AsOf,
    every_days: int,
    progress: Callable[[str], None],
    workers: int = 1,
) -> Replay:
    """Replay from `first` to the as-of of `features`, a training set whose landmarks lie on a grid of `every_days` counted back from there.

    `ledger` gives the leak ledger of a training set. Dates are computed by so many `workers` (processes where more than one), which changes nothing in them. ConfigurationError where no date has open opportunities with anything known before.
    """
    dates = [date for date in replay_dates(first, features.as_of, every_days) if _has_rows(features, date)]
    if not dates:
        raise ConfigurationError(
            "nothing to replay",
            expected="dates with open opportunities before the end, and closed ones before them",
            found=f"none between {first.isoformat()} and {features.as_of.isoformat()}",
            where="--from, --to, --every",
            fix="choose an earlier --from or a later --to",
        )
    searched = sorted({dates[0], dates[len(dates) // SEARCHES]})
    done: dict[AsOf, tuple[Path, dict[str, Any]]] = {}
    with _workers(workers) as submit:
        # Both searches know nothing of each other; what they find is fitted again at the dates after them.
        for some in (searched, [date for date in dates if date not in searched]):
            waiting = []
            for date in some:
                known = known_before(lake, features, date)
                before = [search for search in searched if search <= date]
                recipes = None if date in searched else _recipes(done[before[-1]][1])
                waiting.append(submit(_one_date, lake, features, date, known, ledger(known), params, recipes))
            for date, result in zip(some, waiting, strict=True):
                done[date] = result()
                progress(f"{date.isoformat()[:10]} ({len(done)} of {len(dates)})")
    facts = [done[date][1] for date in dates]
    parts = [read_table(done[date][0] / "said.parquet") for date in dates]
    key = digest_of("replay", [fact["key"] for fact in facts], features.key)
    used = set().union(*(fact["columns_used"] for fact in facts))
    matrix = load_matrix(features)
    replayed = np.isin(matrix.keys["as_of_us"], [date.instant.timestamp() * 1e6 for date in dates])
    drifting = meaning_drift(dated_rows(matrix.take(np.flatnonzero(replayed).astype(np.int64)), used))
    summary = {
        "from": dates[0].isoformat(),
        "end": features.as_of.isoformat(),
        "every_days": every_days,
        "dates": facts,
        "features": features.key,
        "meaning_drift": drifting,
    }

    def build(folder: Path) -> dict[str, Any]:
        rows = _with_outcomes(pa.concat_tables(parts), matrix, features, params)
        ref = write_table(rows, folder / "replay.parquet", REPLAY)
        (folder / "facts.json").write_text(json.dumps(summary, sort_keys=True, indent=1), encoding="utf-8")
        return {"rows": ref.rows}

    folder, _ = lake.step("replays", key, build)
    return Replay(key, table_ref("replay", folder / "replay.parquet"), summary)


def _has_rows(features: FeatureSet, date: AsOf) -> bool:
    instants = read_table(features.spine, ["as_of"]).column("as_of")
    return bool(pa.compute.any(pa.compute.equal(instants, pa.scalar(date.instant, instants.type))).as_py())


def _recipe(data: dict[str, Any] | None, amount: dict[str, Any] | None = None) -> Recipe | None:
    if not data:
        return None
    return Recipe(data["family"], data["setting"], (amount["family"], amount["setting"]) if amount else None)


def _recipes(fact: dict[str, Any]) -> tuple[Recipe | None, Recipe | None]:
    """The champion's and the challenger's, as a search found them."""
    return _recipe(fact["champion"], fact["amount"]), _recipe(fact["challenger"])


@contextmanager
def _workers(count: int) -> Iterator[Callable[..., Callable[[], Any]]]:
    """Something that starts a function with its arguments and gives what waits for its result."""
    if count == 1:

        def at_once(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
            result = function(*arguments)
            return lambda: result

        yield at_once
        return
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield lambda function, *arguments: pool.submit(function, *arguments).result
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@one_core()
def _one_date(
    lake: Lake,
    features: FeatureSet,
    date: AsOf,
    known: FeatureSet,
    verdicts: TableRef,
    params: TrainingParams,
    recipes: tuple[Recipe | None, Recipe | None] | None,
) -> tuple[Path, dict[str, Any]]:
    """What was said at one date, from what was `known` before it and the ledger's `verdicts` on that; `recipes` None: search for them. Kept in the lake by everything it depends on."""
    given = (
        None
        if recipes is None
        else [
            recipe and {"family": recipe.family, "setting": dict(recipe.setting), "amount": recipe.amount}
            for recipe in recipes
        ]
    )
    key = digest_of("replay date", features.key, date.isoformat(), params.model_dump(), given, _code())

    def build(folder: Path) -> dict[str, Any]:
        scoring = open_at(lake, features, date)
        champion, challenger = recipes or (None, None)
        trained = train(
            known,
            verdicts,
            params,
            models=lake.models,
            recorder=NullRecorder(),
            recipe=champion,
            rivals=Rivals(challenger),
        )
        win = trained.card["win"]
        if recipes is None:
            challenger = _recipe(win.get("challenger"))
        allowed = [row["column"] for row in read_table(verdicts).to_pylist() if row["is_used"]]
        matrix = load_matrix(scoring, allowed)
        said = {
            name: win_probabilities(model, align(matrix, model.encoding.columns))
            for name, model in trained.rivals.items()
        }
        rows = _said(scoring, predict(trained.path, scoring), said, trained.version)
        write_table(rows, folder / "said.parquet")
        return {
            "as_of": date.isoformat(),
            "champion": win.get("recipe"),
            "amount": trained.card["amount"].get("recipe"),
            "challenger": challenger and {"family": challenger.family, "setting": dict(challenger.setting)},
            "is_search": recipes is None,
            "model_version": trained.version,
            "evidence_level": win["evidence_level"],
            "rows": rows.num_rows,
            "closed_opportunities": trained.card["data"]["closed_opportunities"],
            "columns_used": win.get("columns_used", []),
        }

    folder, facts = lake.step("replays", key, build)
    return folder, {"key": key, **facts}


def _said(scoring: FeatureSet, predictions: pa.Table, others: dict[str, Floats], version: str) -> pa.Table:
    """The state of each row and what was said of it, sorted by opportunity; outcomes come later."""
    order = [("opportunity_id", "ascending")]
    spine, wide = read_table(scoring.spine).sort_by(order), read_table(scoring.features).sort_by(order)
    predictions = predictions.sort_by(order)
    columns: dict[str, Any] = {name: spine.column(name) for name in _STATE}
    columns |= {name: wide.column(name) for name in ("owner_team", "lead_source")}
    columns |= {name: predictions.column(name) for name in _SAID}
    columns["model_version"] = pa.repeat(version, spine.num_rows)
    missing = np.full(spine.num_rows, np.nan)
    abstained = predictions.column("win_probability").is_null().to_numpy()
    for name, family in (
        ("base_rate", "base_rate"),
        ("stage_rate", "stage_rate"),
        ("challenger_probability", "challenger"),
    ):
        values = np.where(abstained, np.nan, others.get(family, missing))
        columns[name] = pa.array(values, pa.float64(), from_pandas=True)
    return pa.table(columns)


def _with_outcomes(said: pa.Table, matrix: Matrix, features: FeatureSet, params: TrainingParams) -> pa.Table:
    """REPLAY: with what had come by the end, or is to be expected of rows still open then."""
    expected = learn_expectations(matrix, features.as_of.instant.timestamp() * 1e6, params).outcomes(matrix)
    right = pd.DataFrame(
        {
            "opportunity_id": matrix.keys["opportunity_id"],
            "as_of_us": matrix.keys["as_of_us"],
            "is_won": matrix.keys["is_won"],
            "outcome": expected,
        }
    )
    left = pd.DataFrame(
        {
            "opportunity_id": said.column("opportunity_id").to_pandas(),
            "as_of_us": said.column("as_of").cast(pa.int64()).to_numpy().astype(np.float64),
        }
    )
    joined = left.merge(right, on=["opportunity_id", "as_of_us"], how="left", validate="one_to_one")
    closings = read_table(features.outcomes, ["opportunity_id", "closed_at", "won_amount"])
    found = pa.compute.index_in(
        said.column("opportunity_id"), value_set=closings.column("opportunity_id").combine_chunks()
    )
    # Leads, say, of which none ever closed are not judged, so they do not make a date young.
    known = joined["is_won"].notna().astype(np.float64).where(joined["outcome"].notna())
    share = known.groupby(joined["as_of_us"]).transform("mean")
    counts = (share >= MIN_KNOWN_SHARE) & joined["outcome"].notna()
    columns = {name: said.column(name) for name in said.column_names} | {
        "is_won": pa.array(joined["is_won"], pa.float64(), from_pandas=True).cast(pa.bool_()),
        "outcome": pa.array(joined["outcome"], pa.float64(), from_pandas=True),
        "weight": pa.array(counts.astype(np.float64)),
        "closed_at": closings.column("closed_at").take(found),
        "won_amount": closings.column("won_amount").take(found),
    }
    return pa.table(columns)


@functools.cache
def _code() -> str:
    """A digest of this package's code: what a kept date was computed by."""
    return digest_of(*(path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.py"))))
