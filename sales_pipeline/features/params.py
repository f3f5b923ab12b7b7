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
    max_landmarks_per_opportunity: int = Field(
        default=12, ge=1, description="more are thinned evenly, so that long deals do not outweigh the rest"
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
    min_z: float = Field(default=4.0, gt=0.0, description="standard errors a difference of shares must exceed")
    folds: int = Field(default=5, ge=2)
    max_rows: int = Field(default=30_000, ge=100, description="rows beyond this are thinned evenly")
