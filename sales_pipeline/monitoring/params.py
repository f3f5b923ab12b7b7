"""What may be chosen about monitoring. Light: no heavy import, so that settings and `--help` stay quick."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class MonitoringParams(BaseModel):
    """When a figure becomes an alert: when it is beyond chance, and beyond what matters.

    `alarm_rate` sets the first: the probability of an alert where nothing has changed (per run and kind of figure; shared out among the columns
    compared). The tolerances set the second: a large data set shows shifts beyond chance that change nothing. Both must be exceeded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    alarm_rate: float = Field(default=0.001, gt=0.0, lt=0.5)
    min_rows: int = Field(default=30, ge=10, description="fewer rows on one side: no figure")

    reference_days: int = Field(
        default=365,
        ge=28,
        description="landmarks of the training that inputs are compared with: those of the last so many days, a year of seasons",
    )
    psi: float = Field(
        default=0.25,
        gt=0.0,
        description="population stability index beyond the usual: a major shift (Siddiqi, Credit Risk Scorecards, 2006)",
    )
    missing_share: float = Field(default=0.1, gt=0.0, lt=1.0, description="change of the share without a value")
    value_share: float = Field(
        default=0.05,
        gt=0.0,
        lt=1.0,
        description="rows with a value never seen before, or reference rows whose value vanished",
    )
    mean_change: float = Field(
        default=0.05,
        gt=0.0,
        lt=1.0,
        description="of the win probability between two runs, where outcomes and news should cancel out",
    )
    abstaining_share: float = Field(default=0.05, gt=0.0, lt=1.0, description="rise since the previous run")

    history_days: int = Field(
        default=365,
        ge=1,
        description="published runs this much older than the youngest that can be judged are left alone",
    )
    run_every_days: int = Field(
        default=7,
        ge=1,
        description="of daily runs one in so many days is judged: the rest say the same of the same opportunities",
    )
    observed_expected: float = Field(
        default=0.05, gt=0.0, lt=1.0, description="distance of observed over expected wins from 1"
    )
    calibration_error: float = Field(
        default=0.02, gt=0.0, lt=1.0, description="over ten bins of equal count, beyond what chance gives"
    )
    coverage: float = Field(
        default=0.05, gt=0.0, lt=0.2, description="distance of an 80 % interval's coverage from 0.8"
    )
