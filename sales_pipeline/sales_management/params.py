"""Parameters of sales management. Light: no heavy import, so that settings and `--help` stay quick."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ShockParams(_Frozen):
    """Sizes of what hits many opportunities at once, where past dates do not tell them, and how far past dates are believed.

    Parameters
    ----------
    company_correlation, team_correlation
        Correlation of the hidden variables that decide on winning and its time, between any two opportunities, and in addition between two of one
        team (0–1; the asset correlation of Vasicek's one-factor model). Stated judgements.
    company_amount, team_amount
        Standard deviations of the logarithm of the factor all amounts share, and of that of each team.
    new_pipeline
        Standard deviation of the logarithm of the factor on how much is created and won anew.
    strength
        Past dates (each of about three months, overlapping ones counted by their share) at which estimate and stated size weigh the same.
    """

    company_correlation: float = Field(default=0.02, ge=0.0, le=0.5)
    team_correlation: float = Field(default=0.01, ge=0.0, le=0.4)
    company_amount: float = Field(default=0.05, ge=0.0, le=1.0)
    team_amount: float = Field(default=0.05, ge=0.0, le=1.0)
    new_pipeline: float = Field(default=0.25, ge=0.0, le=2.0)
    strength: float = Field(default=4.0, gt=0.0)


class ForecastParams(_Frozen):
    """How revenue is forecast.

    Parameters
    ----------
    months, quarters
        How many calendar months and quarters are forecast, the current ones included.
    fiscal_year_starts
        Month (1–12) the fiscal year starts with: quarters are counted from there.
    currency
        The corporate currency all figures are in; None: the one the exchange rates are counted in, else that of most opportunities.
    commit_probability, best_case_probability
        An open opportunity counts as committed, or as best case, from this win probability on, if its predicted close date lies in the period.
    draws, seed
        Simulated futures, and the seed they are drawn with.
    new_pipeline_weeks
        Weeks before as_of whose creations tell how many will be created.
    history_days
        Opportunities created longer ago do not speak of how those to come will fare.
    """

    months: int = Field(default=4, ge=1, le=24)
    quarters: int = Field(default=3, ge=1, le=8)
    fiscal_year_starts: int = Field(default=1, ge=1, le=12)
    currency: str | None = Field(default=None, pattern="^[A-Z]{3}$")
    commit_probability: float = Field(default=0.7, ge=0.0, le=1.0)
    best_case_probability: float = Field(default=0.4, ge=0.0, le=1.0)
    draws: int = Field(default=2000, ge=100, le=100_000)
    seed: int = Field(default=20260101, ge=0)
    new_pipeline_weeks: int = Field(default=26, ge=4, le=104)
    history_days: int = Field(default=1095, ge=182)
    shocks: ShockParams = ShockParams()

    @model_validator(mode="after")
    def _best_case_holds_commit(self) -> ForecastParams:
        if self.best_case_probability > self.commit_probability:
            raise ValueError(
                f"expected best_case_probability at most commit_probability ({self.commit_probability}), found {self.best_case_probability}"
            )
        return self
