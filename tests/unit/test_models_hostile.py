"""Bad input on its way through training and prediction: a documented fallback or a clear message, and never a score that is no number."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sales_pipeline.contracts.canonical import OPPORTUNITY_ATTRIBUTES
from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.internal import LEAK_LEDGER, OUTCOMES, PREDICTIONS, SPINE
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.features.build import build
from sales_pipeline.features.params import FeatureParams
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import conform, read_table, write_table
from sales_pipeline.models.bundle import read_bundle
from sales_pipeline.models.candidates import AMOUNT_CANDIDATES, WIN_CANDIDATES
from sales_pipeline.models.encoding import OTHER, learn_encoding
from sales_pipeline.models.matrix import DAY, SourceColumn, load_matrix
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.predict import needed_columns, predict
from sales_pipeline.models.selection import keep_columns
from sales_pipeline.models.serving import predict_frame, to_frame
from sales_pipeline.models.store import NullRecorder
from sales_pipeline.models.train import TrainedModel, train
from sales_pipeline.models.win import Recipe
from sales_pipeline.scoring.params import ScoringParams
from sales_pipeline.scoring.score import score
from tests.support.frames import Frames, make_frames
from tests.support.histories import field_history, write_rows

SEARCHED = TrainingParams(
    win_families=("base_rate", "stage_rate", "logistic_regression"),
    amount_families=("median", "crm_amount", "linear_regression"),
    bootstrap_rounds=20,
    boosting_rounds=20,
)
FAMILIES = {
    "logistic_regression": "linear_regression",
    "decision_tree": "crm_amount",
    "gradient_boosting": "median",
    "frequency_naive_bayes": "median",
    "stage_rate": "median",
}
"""Families of the win probability, each beside one of the amount."""
RECIPES = {
    name: Recipe(name, WIN_CANDIDATES[name].settings[0], (amount, AMOUNT_CANDIDATES[amount].settings[0]))
    for name, amount in FAMILIES.items()
}
SEGMENT = "attribute:Segment__c"


def fitted(frames: Frames, folder: Path, recipe: Recipe | None = RECIPES["logistic_regression"]) -> TrainedModel:
    return train(frames, frames.ledger, SEARCHED, models=folder, recorder=NullRecorder(), recipe=recipe)


@pytest.fixture(scope="module")
def teaching(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    return make_frames(tmp_path_factory.mktemp("teaching"), opportunities=400, signal=2.0)


@pytest.fixture(scope="module")
def open_now(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    return make_frames(tmp_path_factory.mktemp("open"), opportunities=1200, signal=2.0, purpose="scoring")


@pytest.fixture(scope="module")
def bundles(teaching: Frames, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {name: fitted(teaching, folder, recipe).path for name, recipe in RECIPES.items()}


def with_columns(frames: Frames, folder: Path, table: str, **columns: Any) -> Frames:
    """The same frames, columns of one of their tables replaced (by values, or by a function of the old ones) or, with None, taken away."""
    old = read_table(getattr(frames, table))
    contract = {"spine": SPINE, "outcomes": OUTCOMES, "attributes": OPPORTUNITY_ATTRIBUTES}.get(table)
    for name, values in columns.items():
        position = old.schema.get_field_index(name)
        if values is None:
            old = old.remove_column(position)
            continue
        values = values(old.column(name)) if callable(values) else values
        kind = arrow_schema(contract).field(name).type if contract else None
        array = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, kind)
        old = old.set_column(position, name, array) if position >= 0 else old.append_column(name, array)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{table}-{len(list(folder.iterdir()))}.parquet"
    return replace(frames, **{table: write_table(old, path, contract)})


def using(frames: Frames, folder: Path, *columns: str) -> Frames:
    """The same frames with a ledger that lets these columns be used."""
    rows = [dict.fromkeys(LEAK_LEDGER.column_names) | {"column": column} for column in columns]
    for row in rows:
        row |= {"verdict": "use", "is_used": True, "basis": "none", "reason": "nothing against it"}
    table = conform(pa.Table.from_pylist(rows, schema=arrow_schema(LEAK_LEDGER)), LEAK_LEDGER)
    return replace(frames, ledger=write_table(table, folder / "ledger.parquet"))


def believable(path: Path, frames: Frames) -> pa.Table:
    """The predictions, after checking that each is a number that fits the others or none with a reason, and that they can be published."""
    table = predict(path, frames)
    assert table.schema.equals(arrow_schema(PREDICTIONS))
    assert table.num_rows == frames.spine.rows
    for column in (name for name in table.column_names if pa.types.is_floating(table.schema.field(name).type)):
        finite = pc.is_finite(table.column(column)).drop_null()
        assert pc.all(finite).as_py() is not False, f"{column} is not finite"
    p, p30, p90, low, high, slip = (
        table.column(name).to_numpy(zero_copy_only=False)
        for name in (
            "win_probability",
            "win_probability_30d",
            "win_probability_90d",
            "win_probability_low",
            "win_probability_high",
            "slip_probability",
        )
    )
    given = np.isfinite(p)
    abstained = pc.is_valid(table.column("abstain_reason")).to_numpy(zero_copy_only=False)
    assert (given ^ abstained).all(), "either a probability or a reason why there is none"
    assert ((p > 0) & (p < 1))[given].all()
    assert ((low <= p) & (p <= high) & (low >= 0) & (high <= 1))[given].all()
    timed = np.isfinite(p30)
    assert given[timed].all()
    assert ((p30 >= 0) & (p30 <= p90) & (p90 <= p))[timed].all()
    assert ((slip >= 0) & (slip <= 1))[np.isfinite(slip)].all()
    ends = [_column(table, f"expected_amount{end}") for end in ("_low", "", "_high")]
    known = np.isfinite(ends[1])
    assert all((np.isfinite(end) == known).all() for end in ends)
    assert ((ends[0] >= 0) & (ends[0] <= ends[1]) & (ends[1] <= ends[2]))[known].all()
    days = [table.column(f"predicted_close_date{end}").cast(pa.int32()).to_pandas() for end in ("_low", "", "_high")]
    dated = days[1].notna().to_numpy()
    assert (dated == timed).all()
    first = (frames.as_of.instant - datetime(1970, 1, 1, tzinfo=UTC)).days
    assert ((days[0] >= first) & (days[0] <= days[1]) & (days[1] <= days[2]))[dated].all()
    scored = score(
        table, read_table(frames.spine), None, ScoringParams(), model_name="m", model_version="v", run_id="r"
    )
    assert scored.num_rows == table.num_rows
    assert scored.column("score").null_count == int((~given).sum())
    return table


def _column(table: pa.Table, name: str) -> np.ndarray:
    return table.column(name).to_numpy(zero_copy_only=False)


def hostile(frames: Frames, folder: Path, random: np.random.Generator, share: float) -> Frames:
    """Each value replaced, with that chance, by one of the odd ones."""

    def odd(choices: list[Any]) -> Any:
        def change(column: pa.ChunkedArray) -> list[Any]:
            values = column.to_pylist()
            hit = random.random(len(values)) < share
            pick = random.integers(0, len(choices), len(values))
            return [choices[p] if h else value for value, h, p in zip(values, hit, pick, strict=True)]

        return change

    numbers = [None, np.nan, np.inf, -np.inf, 0.0, 1e-9, -1.0, 1e15, 1e300, -1e300]
    as_of = frames.as_of.instant
    changed = with_columns(
        frames,
        folder,
        "spine",
        amount=odd([None, Decimal("0.00"), Decimal("-1.00"), Decimal("9999999999999999.99"), Decimal("0.01")]),
        stage=odd([None, "", "never met", "Proposal"]),
        owner_id=odd([None, "005999"]),
        account_id=odd([None]),
        product_id=odd([None, "never met"]),
        currency=odd(["XXX"]),
        kind=odd(["lead", "opportunity"]),
        crm_close_date=odd([None, date(1, 1, 1), date(9999, 12, 31), as_of.date()]),
        crm_probability=odd([None, 0.0, 1.0]),
        created_at=odd(
            [None, datetime(1970, 1, 1, tzinfo=UTC), as_of - timedelta(microseconds=1), as_of + timedelta(days=400)]
        ),
    )
    odd_numbers = {
        name: (lambda column: pa.array(odd(numbers)(column), pa.float64()))
        for name in ("amount", "age_days", "days_in_stage", "days_since_last_activity")
    }
    changed = with_columns(changed, folder, "features", stage=read_table(changed.spine).column("stage"), **odd_numbers)
    return with_columns(changed, folder, "attributes", text_value=odd(["", "never met", "Small\x00"]))


class TestNoScoreIsEverNaN:
    """Whatever the rows hold: a probability within 0 and 1, or none with a reason."""

    @settings(
        max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(seed=st.integers(0, 10_000), share=st.sampled_from([0.05, 0.5, 1.0]))
    def test_on_hostile_rows(
        self, seed: int, share: float, bundles: dict[str, Path], open_now: Frames, tmp_path: Path
    ) -> None:
        rows = hostile(open_now, tmp_path / f"{seed}-{share}", np.random.default_rng(seed), share)
        for path in bundles.values():
            believable(path, rows)

    @pytest.mark.parametrize(
        ("recipe", "share"),
        [(None, 0.5), *((recipe, 0.02) for recipe in RECIPES.values())],
        ids=["searched", *RECIPES],
    )
    def test_of_models_taught_by_hostile_rows(
        self, teaching: Frames, open_now: Frames, tmp_path: Path, recipe: Recipe | None, share: float
    ) -> None:
        rows = hostile(teaching, tmp_path / "t", np.random.default_rng(1), share)
        model = fitted(rows, tmp_path / "models", recipe)
        believable(model.path, open_now)
        believable(model.path, hostile(open_now, tmp_path / "s", np.random.default_rng(2), 0.5))

    def test_of_a_model_server(self, bundles: dict[str, Path], open_now: Frames) -> None:
        """Its rows come from anywhere, so that numbers no export can hold reach the keys too."""
        numbers = [np.nan, np.inf, -np.inf, 0.0, 1e-9, -1.0, 1e15, 1e300, -1e300]
        for path in bundles.values():
            bundle = read_bundle(path)
            frame = to_frame(bundle, load_matrix(open_now, [column.name for column in needed_columns(bundle)]))
            for offset, name in enumerate(("amount", "age_days", "days_in_stage", "days_since_last_activity")):
                frame[name] = np.resize(np.roll(numbers, offset), len(frame))
            told = predict_frame(bundle, frame)
            given = told["abstain_reason"].isna()
            assert given.any()
            assert told.loc[given, "win_probability"].between(0, 1, inclusive="neither").all()
            assert np.isfinite(told["expected_amount"]).all()
            assert (told["expected_amount_low"] <= told["expected_amount_high"]).all()

    def test_where_everything_is_missing(self, bundles: dict[str, Path], open_now: Frames, tmp_path: Path) -> None:
        nothing = [None] * open_now.spine.rows
        names = ("stage", "owner_id", "account_id", "product_id", "amount", "crm_close_date", "crm_probability")
        bare = with_columns(open_now, tmp_path, "spine", **dict.fromkeys(names, nothing))
        empty = pa.nulls(len(nothing), pa.float64())
        bare = with_columns(
            bare,
            tmp_path,
            "features",
            stage=pa.nulls(len(nothing), pa.string()),
            **dict.fromkeys(("amount", "age_days", "days_in_stage", "days_since_last_activity"), empty),
        )
        for path in bundles.values():
            table = believable(path, bare)
            assert table.column("win_probability").null_count == 0
            assert table.column("slip_probability").null_count == table.num_rows, "no close date, no slip"


class TestColumnsThatComeAndGo:
    """Between the day a model was trained and the day it scores."""

    def test_a_vanished_attribute_is_missing_data(
        self, bundles: dict[str, Path], open_now: Frames, tmp_path: Path
    ) -> None:
        assert SEGMENT in {column.name for column in needed_columns(read_bundle(bundles["logistic_regression"]))}
        empty = read_table(open_now.attributes).slice(0, 0)
        gone = replace(open_now, attributes=write_table(empty, tmp_path / "none.parquet", OPPORTUNITY_ATTRIBUTES))
        for path in bundles.values():
            assert believable(path, gone).column("win_probability").null_count == 0

    def test_a_vanished_feature_is_missing_data(
        self, bundles: dict[str, Path], open_now: Frames, tmp_path: Path
    ) -> None:
        gone = with_columns(open_now, tmp_path, "features", age_days=None)
        for path in bundles.values():
            assert believable(path, gone).column("win_probability").null_count == 0

    def test_a_column_that_appears_changes_nothing(
        self, bundles: dict[str, Path], open_now: Frames, tmp_path: Path
    ) -> None:
        attributes = read_table(open_now.attributes)
        new = with_columns(open_now, tmp_path, "attributes", attribute=["Region__c"] * attributes.num_rows)
        both = pa.concat_tables([attributes, read_table(new.attributes)])
        richer = replace(open_now, attributes=write_table(both, tmp_path / "both.parquet", OPPORTUNITY_ATTRIBUTES))
        richer = with_columns(richer, tmp_path, "features", region=pa.array(["North"] * open_now.spine.rows))
        path = bundles["logistic_regression"]
        assert believable(path, richer).equals(believable(path, open_now))

    @pytest.mark.parametrize("kind", ["number", "boolean", "date", "text", "identifier"])
    def test_a_category_found_to_be_something_else_is_missing_data(
        self, bundles: dict[str, Path], open_now: Frames, tmp_path: Path, kind: str
    ) -> None:
        rows = read_table(open_now.attributes).num_rows
        other = with_columns(
            open_now,
            tmp_path,
            "attributes",
            kind=[kind] * rows,
            text_value=["1" if kind in ("number", "boolean", "date") else f"t{n}" for n in range(rows)],
            number_value=[1.0 if kind in ("number", "boolean", "date") else None] * rows,
        )
        empty = read_table(open_now.attributes).slice(0, 0)
        gone = replace(open_now, attributes=write_table(empty, tmp_path / "none.parquet", OPPORTUNITY_ATTRIBUTES))
        path = bundles["logistic_regression"]
        assert believable(path, other).equals(believable(path, gone))

    @pytest.mark.parametrize(("learnt", "found"), [("number", "category"), ("number", "date"), ("date", "number")])
    def test_a_number_found_to_be_something_else_is_missing_data(
        self, teaching: Frames, open_now: Frames, tmp_path: Path, learnt: str, found: str
    ) -> None:
        def as_kind(frames: Frames, kind: str, folder: Path) -> Frames:
            segments = read_table(frames.attributes).column("text_value").to_pylist()
            scale = {"Small": 19_000.0, "Medium": 19_500.0, "Large": 19_900.0}
            return with_columns(
                frames,
                folder,
                "attributes",
                kind=[kind] * len(segments),
                text_value=[text if kind == "category" else str(scale[text]) for text in segments],
                number_value=[None if kind == "category" else scale[text] for text in segments],
            )

        model = fitted(as_kind(teaching, learnt, tmp_path / "t"), tmp_path / "models")
        assert SEGMENT in {column.name for column in needed_columns(read_bundle(model.path))}
        empty = read_table(open_now.attributes).slice(0, 0)
        gone = replace(open_now, attributes=write_table(empty, tmp_path / "none.parquet", OPPORTUNITY_ATTRIBUTES))
        table = believable(model.path, as_kind(open_now, found, tmp_path / "s"))
        assert table.equals(believable(model.path, gone))


class TestNewStage:
    """A stage no landmark stood in."""

    def test_models_abstain_by_name_and_amounts_stay(
        self, bundles: dict[str, Path], open_now: Frames, tmp_path: Path
    ) -> None:
        stages = read_table(open_now.spine).column("stage").to_pylist()
        renamed = ["Legal review", *stages[1:]]
        changed = with_columns(open_now, tmp_path, "spine", stage=renamed)
        changed = with_columns(changed, tmp_path, "features", stage=pa.array(renamed))
        rows = believable(bundles["logistic_regression"], changed).to_pylist()
        assert rows[0]["abstain_reason"] == "stage Legal review was not met before: nothing to learn from"
        assert rows[0]["evidence_level"] == "rules"
        assert rows[0]["expected_amount"] is not None
        assert all(row["abstain_reason"] is None for row in rows[1:])

    def test_rates_speak_of_it_by_the_base_rate(
        self, bundles: dict[str, Path], open_now: Frames, tmp_path: Path
    ) -> None:
        count = open_now.spine.rows
        changed = with_columns(open_now, tmp_path, "spine", stage=["Legal review"] * count)
        table = believable(bundles["stage_rate"], changed)
        assert table.column("abstain_reason").null_count == count
        assert len(set(table.column("win_probability").to_pylist())) == 1


class TestTeachingRows:
    """What a training is given."""

    @pytest.mark.parametrize("days", [0.8, 300, 3000])
    @pytest.mark.parametrize("recipe", [None, RECIPES["logistic_regression"]], ids=["searched", "given"])
    def test_all_outcomes_on_one_day(
        self, teaching: Frames, open_now: Frames, tmp_path: Path, days: float, recipe: Recipe | None
    ) -> None:
        """A CRM tidied up in one go, lately or before every landmark: an outcome is known of everything, and nothing of its time."""
        day = teaching.as_of.instant - timedelta(days=days)
        same = with_columns(
            teaching, tmp_path, "outcomes", closed_at=lambda old: [day if value else None for value in old.to_pylist()]
        )
        model = fitted(same, tmp_path / "models", recipe)
        assert believable(model.path, open_now).column("win_probability").null_count == 0

    def test_constant_features_leave_rates(self, teaching: Frames, open_now: Frames, tmp_path: Path) -> None:
        rows = teaching.features.rows
        columns: dict[str, Any] = dict.fromkeys(
            ("amount", "age_days", "days_in_stage", "days_since_last_activity"), pa.array([7.0] * rows)
        )
        columns["stage"] = pa.array(["Proposal"] * rows)
        constant = with_columns(teaching, tmp_path, "features", **columns)
        constant = with_columns(constant, tmp_path, "spine", stage=["Proposal"] * rows)
        constant = with_columns(
            constant, tmp_path, "attributes", text_value=["Small"] * read_table(teaching.attributes).num_rows
        )
        model = fitted(constant, tmp_path / "models", None)
        assert model.card["win"]["has_skill"] is False
        assert model.card["win"]["evidence_level"] == "rates"
        assert any("No skill" in text for text in model.card["statements"])
        assert believable(model.path, open_now).column("win_probability").null_count == 0

    def test_constant_features_do_not_break_a_given_recipe(
        self, teaching: Frames, open_now: Frames, tmp_path: Path
    ) -> None:
        rows = teaching.features.rows
        names = ("amount", "age_days", "days_in_stage", "days_since_last_activity")
        constant = with_columns(teaching, tmp_path, "features", **dict.fromkeys(names, pa.array([7.0] * rows)))
        constant = using(constant, tmp_path, *names)
        for name, recipe in RECIPES.items():
            model = fitted(constant, tmp_path / name, recipe)
            assert believable(model.path, open_now).column("win_probability").null_count == 0
            assert model.card["win"]["choice"] == ("stage_rate" if name == "stage_rate" else "shrunken_rates")
            assert name == "stage_rate" or "no column tells" in model.card["win"]["why"]

    def test_a_column_that_was_empty_until_lately(self, teaching: Frames, open_now: Frames, tmp_path: Path) -> None:
        """All the windows before its first value are without a column: rates, instead of a fit on nothing."""
        since = teaching.as_of.instant - timedelta(days=120)
        instants = read_table(teaching.spine).column("as_of").to_pylist()
        late = with_columns(
            teaching,
            tmp_path,
            "features",
            age_days=lambda old: pa.array(
                [v if at >= since else None for v, at in zip(old.to_pylist(), instants, strict=True)], pa.float64()
            ),
        )
        late = using(late, tmp_path, "age_days")
        model = fitted(late, tmp_path / "models")
        assert model.card["win"]["evidence_level"] == "rates"
        assert "cannot be fitted" in model.card["win"]["why"]
        assert believable(model.path, open_now).column("win_probability").null_count == 0

    @pytest.mark.parametrize("scale", [1e-6, 1e9], ids=["next to nothing", "beyond any currency"])
    def test_extreme_won_amounts(self, teaching: Frames, open_now: Frames, tmp_path: Path, scale: float) -> None:
        """Up to what the contract's decimal holds: what is expected holds within it too."""
        most = Decimal("9999999999999999.99")

        def scaled(old: pa.ChunkedArray) -> list[Decimal | None]:
            values = old.to_pylist()
            amounts = [None if v is None else Decimal(f"{float(v) * scale:.2f}") for v in values]
            return [None if v is None else min(v, most) for v in amounts]

        extreme = with_columns(teaching, tmp_path / "t", "outcomes", won_amount=scaled)
        extreme = with_columns(extreme, tmp_path / "t", "spine", amount=scaled)
        rows = with_columns(open_now, tmp_path / "s", "spine", amount=scaled)
        table = believable(fitted(extreme, tmp_path / "models").path, rows)
        assert table.column("expected_amount").null_count == 0

    def test_won_amounts_of_zero_and_below_are_no_reason_to_fail(
        self, teaching: Frames, open_now: Frames, tmp_path: Path
    ) -> None:
        odd = [Decimal("0.00"), Decimal("-5.00"), Decimal("0.01"), Decimal("9999999999999999.99")]

        def replaced(old: pa.ChunkedArray) -> list[Decimal | None]:
            return [value if value is None else odd[n % 4] for n, value in enumerate(old.to_pylist())]

        changed = with_columns(teaching, tmp_path, "outcomes", won_amount=replaced)
        believable(fitted(changed, tmp_path / "models").path, open_now)


class TestFiftyThousandCategories:
    """An attribute with a value of its own for nearly every row: the frequent ones have columns, the rest is one."""

    COUNT = 50_000

    def test_the_matrix_stays_narrow(self) -> None:
        random = np.random.default_rng(1)
        values = [f"v{number}" for number in range(self.COUNT)] + ["usual"] * 500
        column = SourceColumn("attribute:Code", "category", "code")
        frame = pd.DataFrame({column.name: np.array(values, dtype=object)[random.permutation(len(values))]})
        encoding = learn_encoding(frame, (column,))
        assert encoding.blocks[0]["levels"] == ["usual", OTHER]
        unseen = pd.DataFrame({column.name: np.array(["usual", "never met", None], dtype=object)})
        assert encoding.apply(unseen).tolist() == [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]

    def test_a_value_for_each_opportunity_teaches_nothing(
        self, teaching: Frames, open_now: Frames, tmp_path: Path
    ) -> None:
        def codes(old: pa.ChunkedArray) -> list[str]:
            return [f"code {number}" for number in range(len(old))]

        unique = with_columns(teaching, tmp_path, "attributes", text_value=codes)
        matrix = load_matrix(unique, [SEGMENT, "age_days"])
        kept = keep_columns(matrix, matrix.keys["is_won"].fillna(0.0).to_numpy(), "win", SEARCHED)
        assert {column.name for column in kept} == {"age_days"}
        model = fitted(unique, tmp_path / "models")
        assert SEGMENT not in model.card["win"]["columns_used"]
        assert believable(model.path, open_now).column("win_probability").null_count == 0


class TestTimeZone:
    """Close dates are days without a zone; features and models count them in UTC, so that a row means the same in training and scoring.

    The end of a day in the configured zone lies up to 14 hours before, or 12 after, the end of it in UTC (`SourceMapping.time_zone`).
    """

    @pytest.mark.parametrize(
        ("zone_name", "off"),
        [
            ("UTC", 0),
            ("Europe/London", 0),
            ("Asia/Shanghai", 0),
            ("Pacific/Kiritimati", 0),
            ("America/New_York", -1),
            ("Pacific/Pago_Pago", -1),
        ],
    )
    def test_days_to_the_close_date_are_off_by_one_at_most_the_same_in_every_season(
        self, tmp_path: Path, zone_name: str, off: int
    ) -> None:
        created = datetime(2024, 1, 1, 12, tzinfo=UTC)
        for day in (date(2025, 1, 20), date(2025, 7, 20)):
            due = {name: day + timedelta(days=days) for name, days in (("ahead", 5), ("today", 0), ("past", -5))}
            rows = [
                {"opportunity_id": name, "created_at": created, "state": "open", "stage": "open", "crm_close_date": on}
                for name, on in due.items()
            ]
            folder = tmp_path / day.isoformat()
            first = {"changed_at": created, "sequence": 0, "is_creation": True}
            names = ("opportunity_id", "state", "stage", "crm_close_date")
            world = {
                "opportunities": rows,
                "opportunity_changes": [{name: row[name] for name in names} | first for row in rows],
                "field_history": field_history(),
            }
            tables = write_rows(folder / "canonical", world)
            with DuckDBEngine(threads=1) as engine:
                as_of = AsOf.end_of_day(day, zone_name)
                found = build(Lake(folder), tables, as_of, purpose="scoring", params=FeatureParams(), engine=engine)
            cells = {row["opportunity_id"]: row for row in read_table(found.features).to_pylist()}
            assert {name: cells[name]["days_to_crm_close_date"] for name in due} == {
                "ahead": 5 + off,
                "today": off,
                "past": -5 + off,
            }
            assert {name: cells[name]["is_past_crm_close_date"] for name in due} == {
                "ahead": False,
                "today": off < 0,
                "past": True,
            }

    @pytest.mark.parametrize("hours", [-14, -8, -1, 0, 1, 5, 12])
    def test_slip_is_off_by_less_than_a_day(
        self, bundles: dict[str, Path], open_now: Frames, tmp_path: Path, hours: int
    ) -> None:
        """`hours` from the end of the day in UTC to the end of the same day elsewhere (-8: Asia/Shanghai)."""
        day = open_now.as_of.instant - timedelta(days=1)
        instant = open_now.as_of.instant + timedelta(hours=hours)
        rows = open_now.spine.rows
        due = [day.date() + timedelta(days=number % 4 - 2) for number in range(rows)]
        moved = with_columns(open_now, tmp_path, "spine", as_of=[instant] * rows, crm_close_date=due)
        moved = with_columns(
            moved, tmp_path, "features", as_of=pa.array([instant] * rows, pa.timestamp("us", tz="UTC"))
        )
        moved = replace(moved, as_of=AsOf(instant))
        table = believable(bundles["logistic_regression"], moved)
        slip = _column(table, "slip_probability")
        left = (pd.to_datetime(pd.Series(due)) - pd.Timestamp(day.date())).dt.days.to_numpy()
        assert (slip[left < 0] == 1).all(), "a close date before the day has passed wherever one is"
        assert (slip[left > 0] < 1).all(), "a close date after the day has passed nowhere"
        today = slip[left == 0]
        assert ((today == 1).all() and hours >= 0) or ((today < 1).all() and (today > 0.8).all() and hours < 0)

    def test_the_close_date_ends_with_its_day_in_utc(self, open_now: Frames) -> None:
        keys = load_matrix(open_now, ["amount"]).keys
        due = read_table(open_now.spine).column("crm_close_date").cast(pa.int32()).to_numpy()
        np.testing.assert_array_equal(keys["crm_close_us"], (due + 1.0) * DAY)
