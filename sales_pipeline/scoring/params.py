"""Parameters of scoring. Light: no heavy import, so that settings and `--help` stay quick."""

from __future__ import annotations

import itertools

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ScoringParams(BaseModel):
    """How probabilities become grades and trends.

    Parameters
    ----------
    grade_cut_offs
        Lowest win probability (0–1) of grade A, B and C; below the last is D.
    grade_hysteresis
        How far (in probability) beyond a cut-off an opportunity must go before its grade changes from the last published
        one, so that a grade does not flicker.
    trend_min_change
        A change of win probability smaller than this is `steady` even when it leaves the last published interval.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    grade_cut_offs: tuple[float, float, float] = (0.7, 0.4, 0.15)
    grade_hysteresis: float = Field(default=0.02, ge=0.0, le=0.2)
    trend_min_change: float = Field(default=0.01, ge=0.0, le=0.5)

    @model_validator(mode="after")
    def _apart(self) -> ScoringParams:
        edges = (1.0, *self.grade_cut_offs, 0.0)
        gaps = [high - low for high, low in itertools.pairwise(edges)]
        if min(gaps) <= 0:
            raise ValueError(f"expected grade_cut_offs falling within 1 and 0, found {self.grade_cut_offs}")
        if min(gaps[1:-1]) <= 2 * self.grade_hysteresis:
            raise ValueError(
                f"expected grade_cut_offs further apart than twice grade_hysteresis ({self.grade_hysteresis}), "
                f"found {self.grade_cut_offs}"
            )
        return self
