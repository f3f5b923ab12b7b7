"""What may be chosen about training. Light: no heavy import, so that settings and `--help` stay quick."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

WinFamily = Literal[
    "base_rate",
    "stage_rate",
    "logistic_regression",
    "frequency_naive_bayes",
    "decision_tree",
    "linear_svm",
    "rbf_svm",
    "gradient_boosting",
    "blend",
]
AmountFamily = Literal[
    "median",
    "crm_amount",
    "linear_regression",
    "ridge_regression",
    "decision_tree",
    "svr_linear",
    "svr_rbf",
    "gradient_boosting",
]

WIN_FAMILIES: tuple[WinFamily, ...] = (
    "base_rate",
    "stage_rate",
    "logistic_regression",
    "frequency_naive_bayes",
    "decision_tree",
    "linear_svm",
    "rbf_svm",
    "gradient_boosting",
    "blend",
)
"""From the simplest to the least simple: among candidates that cannot be told apart the earlier one is chosen. A logistic regression has one number per matrix column, frequency
tables have two per value."""

AMOUNT_FAMILIES: tuple[AmountFamily, ...] = (
    "median",
    "crm_amount",
    "linear_regression",
    "ridge_regression",
    "decision_tree",
    "svr_linear",
    "svr_rbf",
    "gradient_boosting",
)
"""From the simplest to the least simple."""


SAMPLE_PARAMS = ("sample_above_rows", "min_sample_opportunities", "max_sample_rows", "sample_tolerance")
"""Parameters of the sample alone: a model that was trained on everything does not rest on them."""


class TrainingParams(BaseModel):
    """How models are trained, chosen and judged. Counts are opportunities unless they say rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=7, ge=0)
    threads: int = Field(
        default=1,
        ge=1,
        description="threads of gradient boosting; fixed, so that sums are repeatable; one is fastest up to some 100,000 rows",
    )

    win_families: tuple[WinFamily, ...] = WIN_FAMILIES
    amount_families: tuple[AmountFamily, ...] = AMOUNT_FAMILIES

    min_closed_for_model: int = Field(default=40, ge=2, description="below: shrunken rates only")
    min_closed_for_full: int = Field(default=200, ge=2, description="below: rates and a small logistic regression")
    min_won_amounts: int = Field(default=30, ge=2, description="below: the median of won amounts")
    validation_windows: int = Field(default=3, ge=1, le=12)
    test_share: float = Field(default=0.15, gt=0.0, lt=0.5, description="of matured landmark rows")
    calibration_share: float = Field(default=0.2, gt=0.0, lt=0.5, description="of the rows before the test window")
    validation_share: float = Field(default=0.3, gt=0.0, lt=0.8, description="of the rows before the test window")
    maturity_quantile: float = Field(
        default=0.75, gt=0.0, lt=1.0, description="of the time to close: younger landmarks are left out"
    )
    max_maturity_share: float = Field(default=0.15, gt=0.0, lt=0.5, description="of the history, at most")

    sample_above_rows: int = Field(
        default=500_000,
        ge=1000,
        description="landmark rows above which a sample of the opportunities is drawn, its size by a learning curve",
    )
    min_sample_opportunities: int = Field(
        default=50_000, ge=100, description="opportunities a sample has at least: windows judge and calibrate on them"
    )
    max_sample_rows: int | None = Field(
        default=None,
        ge=1000,
        description="landmark rows a sample has at most; default: what a quarter of the memory holds",
    )
    sample_tolerance: float = Field(
        default=0.0005, ge=0.0, description="gain in log loss not worth fitting twice as many rows of a sample"
    )
    max_training_rows: int = Field(
        default=30_000,
        ge=1000,
        description="landmark rows a model is fitted on; of more every n-th in time order; where a sample is drawn its learning curve begins here",
    )
    max_search_rows: int = Field(
        default=8_000, ge=500, description="landmark rows a candidate is fitted on while candidates are compared"
    )
    max_expectation_rows: int = Field(
        default=20_000,
        ge=500,
        description="steps of landmark rows that the chances of opportunities still open are learnt from",
    )
    max_kernel_rows: int = Field(default=5_000, ge=200, description="rows a kernel machine is fitted on")
    nystroem_components: int = Field(default=150, ge=10)
    max_columns: int = Field(default=40, ge=1, description="source columns a model may use, the most important ones")
    max_categories: int = Field(
        default=12, ge=2, description="values of a category with their own column; the rest is other"
    )
    min_category_rows: int = Field(default=20, ge=1)
    boosting_rounds: int = Field(
        default=500, ge=10, description="at most; how many is chosen on held-out training opportunities"
    )

    prior_strength: float = Field(default=20.0, gt=0.0, description="pseudo-observations rates are shrunken with")
    min_isotonic_rows: int = Field(default=2_000, ge=100, description="below: the logistic calibrator")
    noise_z: float = Field(
        default=1.645,
        ge=0.0,
        description="standard errors a gain over the base rate must exceed; raised for several families",
    )
    bootstrap_rounds: int = Field(default=200, ge=20)
