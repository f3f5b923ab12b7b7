"""What may be chosen about a simulated world. Light: no heavy import, so that settings and `--help` stay quick."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class DirtParams(BaseModel):
    """Share of rows of the files concerned that each kind of dirt touches; 0 switches a kind off.

    A kind that is on touches at least one row per file it is applied to, so that small worlds show every kind too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    duplicate_row: float = Field(default=0.003, ge=0.0, le=0.2)
    stale_duplicate: float = Field(default=0.002, ge=0.0, le=0.2)
    deleted: float = Field(default=0.003, ge=0.0, le=0.2)
    short_id: float = Field(default=0.02, ge=0.0, le=0.2)
    blanks: float = Field(default=0.01, ge=0.0, le=0.2)
    no_break_space: float = Field(default=0.005, ge=0.0, le=0.2)
    category_case: float = Field(default=0.02, ge=0.0, le=0.2)
    amount_notation: float = Field(default=0.01, ge=0.0, le=0.2)
    amount_negative: float = Field(default=0.0005, ge=0.0, le=0.2)
    amount_unparsable: float = Field(default=0.001, ge=0.0, le=0.2)
    date_notation: float = Field(default=0.003, ge=0.0, le=0.2)
    close_before_created: float = Field(default=0.002, ge=0.0, le=0.2)
    orphan: float = Field(default=0.002, ge=0.0, le=0.2)
    missing_owner: float = Field(default=0.002, ge=0.0, le=0.2)
    multiline_text: float = Field(default=0.01, ge=0.0, le=0.2)
    ragged_line: float = Field(default=0.0002, ge=0.0, le=0.2)
    empty_line: float = Field(default=0.0002, ge=0.0, le=0.2)


PlantedLeak = Literal[
    "filled_at_close", "rewritten_at_close", "outcome_copy", "growing_count", "date_at_close", "telling_gap"
]
LookAlike = Literal["strong_predictor", "filled_early", "seasonal"]


class WorldParams(BaseModel):
    """A simulated world: size, seed and period.

    `end_on` is the last day the export has seen; its as-of is the end of that day, UTC. The weekly grid of the world is
    counted back from there. `contact_rate` multiplies the odds that a seller follows up in a week;
    `unseen_spread` is the standard deviation of what no column of the export tells about an opportunity's chance
    (larger: harder to predict; in units of the win index, see `dynamics`). `planted_leaks` and `look_alikes` add custom columns that
    tell the outcome too late, or only look as if (see `planted`); `tracks_planted` writes their changes to the field history.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    opportunities: int = Field(default=5000, ge=1, le=5_000_000)
    seed: int = Field(default=7, ge=0)
    start_on: date = date(2024, 1, 1)
    end_on: date = date(2026, 6, 30)
    growth: float = Field(
        default=1.0, ge=0.0, description="creations per week at the end over those at the start, less 1"
    )
    contact_rate: float = Field(default=1.0, gt=0.0)
    unseen_spread: float = Field(default=0.4, ge=0.0)
    landmark_every_weeks: int = Field(default=4, ge=1)
    max_age_weeks: int = Field(default=104, ge=26, description="an opportunity this old is closed as lost")
    dirt: DirtParams = DirtParams()
    planted_leaks: tuple[PlantedLeak, ...] = ()
    look_alikes: tuple[LookAlike, ...] = ()
    tracks_planted: bool = True

    @model_validator(mode="after")
    def _long_enough(self) -> WorldParams:
        if self.week_count < 8:
            raise ValueError(f"expected at least 8 weeks between start_on and end_on, found {self.week_count}")
        return self

    @property
    def week_count(self) -> int:
        """Whole weeks of the grid, which ends with `end_on`."""
        return ((self.end_on - self.start_on).days + 1) // 7
