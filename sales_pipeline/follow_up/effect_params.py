"""Parameters of the effect of a contact. Light: no heavy import, so that settings and `--help` stay quick."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ContactEffectParams(BaseModel):
    """How the effect of a contact is learnt, and when it is believed.

    Parameters
    ----------
    history_weeks
        Weeks before the as-of that are looked at.
    max_opportunities, max_rows, max_index_rows
        Of more opportunities whole accounts are drawn; of more weeks too; rows the index of signs is fitted on, evenly spaced.
    min_outcomes, min_rows
        Opportunities of the rarer outcome, and weeks to learn from, below which nothing is estimated.
    min_contact_share
        Weeks with a contact must be at least this share (0–1) of all, and weeks without one too.
    max_beyond_trim
        Share of weeks whose propensity may be trimmed; more is no overlap.
    min_first_stage
        F of earlier replies for later ones below which replies are no proxies.
    most_disagreement
        Standard errors by which the effects by newer and by older replies may differ.
    most_difference
        Greatest standard deviation of differences between groups, in units of the average effect.
    folds, seed
        Of the cross-fitting, by account.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    history_weeks: int = Field(default=130, ge=26)
    max_opportunities: int = Field(default=40_000, ge=100)
    max_rows: int = Field(default=600_000, ge=1000)
    max_index_rows: int = Field(default=30_000, ge=1000)
    min_outcomes: int = Field(default=100, ge=20)
    min_rows: int = Field(default=3000, ge=500)
    min_contact_share: float = Field(default=0.02, gt=0.0, lt=0.5)
    max_beyond_trim: float = Field(default=0.2, ge=0.0, le=1.0)
    min_first_stage: float = Field(default=10.0, ge=0.0)
    most_disagreement: float = Field(default=2.0, gt=0.0)
    most_difference: float = Field(default=0.75, ge=0.0)
    folds: int = Field(default=5, ge=2)
    seed: int = Field(default=7, ge=0)
