"""A small matrix of catalogue features and attributes with a known signal, and win models of every family fitted on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sales_pipeline.models.bundle import Bundle, WinModel
from sales_pipeline.models.calibration import Calibrator, IntervalTable, fit_isotonic, fit_logistic
from sales_pipeline.models.candidates import WIN_CANDIDATES, Fitting, Sample
from sales_pipeline.models.encoding import learn_encoding
from sales_pipeline.models.matrix import DAY, Matrix, SourceColumn
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.wording import CATALOGUE

PARAMS = TrainingParams(boosting_rounds=25, nystroem_components=40)
NUMBERS = (
    "days_in_stage",
    "age_days",
    "days_to_crm_close_date",
    "activity_count_30d",
    "days_since_last_activity",
    "amount",
    "owner_win_rate",
    "as_of_month",
)
AS_OF_DAY = 20_000


def column(name: str, kind: str = "number", label: str = "", **values: Any) -> SourceColumn:
    """A column of a matrix as it is read for that feature, or for an attribute."""
    feature = CATALOGUE.get(name)
    if feature is None:
        return SourceColumn(name, kind, label or name, **values)  # type: ignore[arg-type]
    texts = (feature.up_text, feature.down_text, feature.missing_text, feature.negative_text)
    return SourceColumn(name, feature.type, feature.meaning, feature.unit, *texts)


COLUMNS = (
    *(column(name) for name in NUMBERS),
    column("stage"),
    column("is_past_crm_close_date"),
    column("attribute:Segment__c", "category", "Segment"),
    column("attribute:Renewal_Date__c", "number", "Renewal Date", is_date=True),
)


def make_matrix(rows: int = 400, seed: int = 5) -> tuple[Matrix, np.ndarray]:
    """Rows at one as-of and whether each was won."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({name: random.gamma(2.0, 15.0, rows).round() for name in NUMBERS})
    frame["owner_win_rate"] = random.uniform(0.1, 0.7, rows)
    frame["as_of_month"] = 10.0
    frame["days_to_crm_close_date"] -= 20
    frame["amount"] *= 1000
    frame.loc[random.uniform(size=rows) < 0.1, "days_since_last_activity"] = np.nan
    frame["stage"] = random.choice(["Prospecting", "Proposal", "Negotiation"], rows).astype(object)
    frame["is_past_crm_close_date"] = (frame["days_to_crm_close_date"] < 0).astype(float)
    frame["attribute:Segment__c"] = random.choice(["Small", "Large", None], rows).astype(object)
    frame["attribute:Renewal_Date__c"] = random.normal(0, 50, rows).round()
    index = (
        0.05 * (frame["activity_count_30d"] - 30)
        - 0.04 * (frame["days_since_last_activity"].fillna(60) - 30)
        + 0.8 * (frame["stage"] == "Negotiation")
        - 0.02 * frame["age_days"]
        + 3 * frame["owner_win_rate"]
    )
    won = (random.uniform(size=rows) < 1 / (1 + np.exp(-index))).astype(float).to_numpy()
    names = np.array([f"D{number:04d}" for number in range(rows)], dtype=object)
    keys = pd.DataFrame(
        {
            "opportunity_id": names,
            "kind": np.full(rows, "opportunity", dtype=object),
            "account_id": names,
            "owner_id": random.choice(["S1", "S2", "S3"], rows).astype(object),
            "product_id": random.choice(["P1", "P2"], rows).astype(object),
            "stage": frame["stage"].to_numpy(dtype=object),
            "currency": np.full(rows, "USD", dtype=object),
            "amount": frame["amount"].to_numpy(),
            "as_of_us": np.full(rows, float(AS_OF_DAY * DAY)),
            "created_us": (AS_OF_DAY - 1 - frame["age_days"].to_numpy()) * DAY,
            "crm_close_us": (AS_OF_DAY + frame["days_to_crm_close_date"].to_numpy()) * DAY,
            "is_won": won,
            "closed_us": np.full(rows, float((AS_OF_DAY + 30) * DAY)),
            "won_amount": frame["amount"].to_numpy(),
        }
    )
    return Matrix(frame[[column.name for column in COLUMNS]], keys, COLUMNS), won


def fit_model(family: str, matrix: Matrix, won: np.ndarray, *, calibrator: str = "logistic") -> WinModel:
    """The family's first setting on those rows; blends logistic regression and boosting."""
    encoding = learn_encoding(matrix.frame, matrix.columns, min_category_rows=5)
    encoded = encoding.encode(matrix)
    candidate = WIN_CANDIDATES[family]
    estimator = candidate.fit(Fitting(Sample(encoded, won), setting_of(family), PARAMS))
    scores = estimator.score(encoded)
    fitted: Calibrator = fit_isotonic(scores, won) if calibrator == "isotonic" else fit_logistic(scores, won)
    return WinModel(
        family=family,
        evidence_level="full_model",
        encoding=encoding,
        estimator=estimator,
        calibrator=fitted,
        intervals=IntervalTable((-6.0, 6.0), (50.0, 50.0)),
        needs_created_at=False,
    )


def setting_of(family: str) -> dict[str, Any]:
    """The family's first setting; of a blend, two members."""
    if family != "blend":
        return dict(WIN_CANDIDATES[family].settings[0])
    members = ("logistic_regression", "gradient_boosting")
    return {
        "members": [{"family": name, "setting": setting_of(name), "weight": 0.5} for name in members],
        "intercept": 0.1,
    }


def bundle(win: WinModel | None, version: str = "v1") -> Bundle:
    """A bundle of that model alone."""
    return Bundle(
        version, Path(version), win, None if win else "no model", None, None, {"data": {"kinds": ["opportunity"]}}
    )
