"""Scores on opportunities: fields of their own, so that nothing people typed is touched."""

from trytond.model import fields
from trytond.pool import PoolMeta


class Opportunity(metaclass=PoolMeta):
    """`conversion_probability` stays the seller's; `win_probability` is the score."""

    __name__ = "sale.opportunity"

    win_probability = fields.Numeric(
        "Win Probability",
        digits=(1, 6),
        domain=[
            "OR",
            ("win_probability", "=", None),
            [("win_probability", ">=", 0), ("win_probability", "<=", 1)],
        ],
    )
    score_band = fields.Selection([(None, ""), ("A", "A"), ("B", "B"), ("C", "C"), ("D", "D")], "Score Band")
    expected_value = fields.Numeric("Expected Value", digits=(15, 2))
    scored_at = fields.DateTime("Scored At")
