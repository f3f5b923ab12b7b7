"""Parameters of scoring. Light: no heavy import, so that settings and `--help` stay quick."""

from __future__ import annotations

import itertools
from difflib import get_close_matches

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sales_pipeline.features.catalogue import FEATURES
from sales_pipeline.features.terms import Language

ATTRIBUTE_PREFIX = "attribute:"


class ScoringParams(BaseModel):
    """How probabilities become grades and trends.

    Parameters
    ----------
    grade_cut_offs
        Lowest win probability (0–1) of grade A, B and C; below the last is D.
    grade_hysteresis
        How far (in probability) beyond a cut-off an opportunity must go before its grade changes from the last published
        one, so that a grade does not flicker.
    language
        Language of reasons and of the sentence where there is no probability: English or Simplified Chinese.
    sensitive
        Fields no reason ever quotes, neither by value nor by name: features (`account_revenue_log`), attributes of the export as
        `attribute:<name>`, or, with all features of them, a tracked field (`stage`, `amount`, `crm_close_date`, `crm_probability`, `owner_id`) or a
        business term (`product`, `engagement`, `account_facts`). What they add to a score is told as one sum without a name.
    trend_min_change
        A change of win probability smaller than this is `steady` even when it leaves the last published interval.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    grade_cut_offs: tuple[float, float, float] = (0.7, 0.4, 0.15)
    grade_hysteresis: float = Field(default=0.02, ge=0.0, le=0.2)
    language: Language = "en"
    sensitive: tuple[str, ...] = ()
    trend_min_change: float = Field(default=0.01, ge=0.0, le=0.5)

    @field_validator("sensitive")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        fields = {feature.state_field for feature in FEATURES if feature.state_field}
        known = (
            {feature.name for feature in FEATURES} | fields | {feature.term for feature in FEATURES} | {"product_id"}
        )
        unknown = [name for name in names if name not in known and not name.startswith(ATTRIBUTE_PREFIX)]
        if unknown:
            near = [name for wrong in unknown for name in get_close_matches(wrong, sorted(known), n=1)]
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise ValueError(
                f"expected names of features, or {ATTRIBUTE_PREFIX}<name> for a field of the export, found {', '.join(unknown)}{hint}"
            )
        return names

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
