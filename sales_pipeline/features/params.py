"""What may be chosen about features. Light: no heavy import, so that settings and `--help` stay quick."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class FeatureParams(BaseModel):
    """Landmarks and priors.

    A prior weight is the number of average deals a record is shrunken with: a rate is
    (won + weight * overall rate) / (closed + weight), the posterior mean of a beta prior (Efron & Morris, "Stein's paradox in
    statistics", 1977, on why that beats the raw rate).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    landmark_every_days: int = Field(
        default=28, ge=1, description="distance of the training grid, counted back from the as-of"
    )
    random_landmark_dates: int = Field(
        default=8,
        ge=0,
        description="days drawn at random (seeded) beside the grid: a grid alone meets the same days of every quarter, and no others",
    )
    landmark_seed: int = Field(default=7, ge=0)
    max_landmarks_per_opportunity: int = Field(
        default=40,
        ge=1,
        description="more are thinned evenly; landmarks are met as often as opportunities are open on a day, which is how they are scored",
    )
    owner_prior_weight: float = Field(default=20.0, gt=0.0)
    account_prior_weight: float = Field(default=3.0, gt=0.0)
    product_prior_weight: float = Field(default=30.0, gt=0.0)


class LeakParams(BaseModel):
    """Thresholds of the leak ledger's statistical findings; every one is stated in the finding's reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_rows: int = Field(default=30, ge=2, description="fewer rows on one side: no statistical verdict")
    auc_alone: float = Field(default=0.9, gt=0.5, le=1.0)
    r2_alone: float = Field(default=0.999, gt=0.0, le=1.0, description="for a numeric target: a copy of it")
    open_fill_ratio: float = Field(
        default=0.05, ge=0.0, lt=1.0, description="filled only at close: fill among open over fill among closed"
    )
    min_closed_fill: float = Field(default=0.05, gt=0.0, le=1.0)
    missingness_difference: float = Field(default=0.2, gt=0.0, le=1.0)
    psi: float = Field(default=0.25, gt=0.0, description="population stability index beyond what chance alone gives")
    mixture_auc: float = Field(
        default=0.7,
        gt=0.5,
        le=1.0,
        description="a column this strong alone must spread among open rows as among won and lost",
    )
    mixture_psi: float = Field(
        default=0.05,
        gt=0.0,
        description="index beyond chance between open rows and the nearest mixture of won and lost",
    )
    mixture_z: float = Field(default=3.0, gt=0.0, description="standard errors that index must exceed")
    at_close_days: float = Field(
        default=1.0, gt=0.0, description="a first value this near the closing is written at it"
    )
    filled_at_close: float = Field(
        default=0.2, gt=0.0, le=1.0, description="share of closed opportunities with a value that got it at the closing"
    )
    changed_since_landmark: float = Field(
        default=0.05, gt=0.0, le=1.0, description="share of landmarks at which another value stood than is seen last"
    )
    min_changed: float = Field(
        default=0.01, gt=0.0, le=1.0, description="the same share, where changing goes with winning or losing (min_z)"
    )
    min_z: float = Field(default=4.0, gt=0.0, description="standard errors a difference of shares must exceed")
    folds: int = Field(default=5, ge=2)
    max_rows: int = Field(default=30_000, ge=100, description="rows beyond this are thinned evenly")
