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

    company_correlation: float = Field(default=0.03, ge=0.0, le=0.5)
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


class TeamParams(_Frozen):
    """How the team table is computed; its windows of time stand in the contract.

    Parameters
    ----------
    stale_days
        An open opportunity without activity and without change for so many days is stale.
    min_closed, min_wins
        Fewer closed opportunities, or fewer won or lost ones: no model of the mix, everything is expected at the company's rate.
    min_category
        A category met less often is no category of the mix.
    folds, mix_strength
        Folds by account the mix is fitted on, and the inverse of the ridge penalty.
    spread_prior
        Scale of the half-normal prior of the spread of sellers, in log-odds: half of them lie within 0.34, which multiplies the odds by 1.4.
    """

    stale_days: int = Field(default=60, ge=1)
    min_closed: int = Field(default=200, ge=20)
    min_wins: int = Field(default=20, ge=2)
    min_category: int = Field(default=20, ge=1)
    folds: int = Field(default=5, ge=2, le=20)
    mix_strength: float = Field(default=1.0, gt=0.0)
    spread_prior: float = Field(default=0.5, gt=0.0)


class AccountParams(_Frozen):
    """How the account table is computed; its windows of time stand in the contract.

    Parameters
    ----------
    min_repeat_buyers
        Fewer accounts that have bought on more than one day: no BG/NBD model, rules instead.
    silence_medium, silence_high
        From these probabilities of silence on the level is medium, high.
    quiet_medium_days, quiet_high_days
        By rules: from so many days since the last win on the level is medium, high.
    trend_p
        A two-sided exact test at this level tells rising from steady from falling.
    min_support, min_lift, max_basket
        A pair of products counts from so many accounts and so much lift on; of one account so many products are read.
    low_satisfaction
        A satisfaction in this lowest share of all accounts' is low.
    case_days, answer_days, check_in_days
        A case is overdue, the customer's last word unanswered, a customer due for a contact after so many days.
    """

    min_repeat_buyers: int = Field(default=30, ge=2)
    silence_medium: float = Field(default=0.5, ge=0.0, le=1.0)
    silence_high: float = Field(default=0.8, ge=0.0, le=1.0)
    quiet_medium_days: int = Field(default=180, ge=1)
    quiet_high_days: int = Field(default=365, ge=1)
    trend_p: float = Field(default=0.1, gt=0.0, lt=1.0)
    min_support: int = Field(default=5, ge=1)
    min_lift: float = Field(default=1.1, ge=0.0)
    max_basket: int = Field(default=100, ge=2)
    low_satisfaction: float = Field(default=0.2, ge=0.0, le=1.0)
    case_days: int = Field(default=14, ge=0)
    answer_days: int = Field(default=2, ge=0)
    check_in_days: int = Field(default=90, ge=1)
