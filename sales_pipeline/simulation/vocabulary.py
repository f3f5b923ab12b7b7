"""The categories of the simulated world: their names, how common they are and what they add to the win index.

Belongs here: constants. The win index is defined in `dynamics`; zero effect is neutral.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Category(NamedTuple):
    """One value of a categorical column: how common it is and what it adds to the win index."""

    label: str
    weight: float
    effect: float


INDUSTRIES = (
    Category("Manufacturing", 0.24, 0.10),
    Category("Technology", 0.20, 0.45),
    Category("Retail", 0.16, -0.40),
    Category("Healthcare", 0.14, 0.20),
    Category("Banking", 0.10, -0.15),
    Category("Transportation", 0.09, -0.05),
    Category("Education", 0.07, -0.50),
)
LEAD_SOURCES = (
    Category("Web", 0.30, -0.10),
    Category("Partner Referral", 0.16, 0.45),
    Category("Employee Referral", 0.10, 0.60),
    Category("Trade Show", 0.14, -0.20),
    Category("Phone Inquiry", 0.10, 0.15),
    Category("Purchased List", 0.15, -0.65),
    Category("", 0.05, 0.0),
)
COMPETITORS = (
    Category("None", 0.44, 0.30),
    Category("Competitor A", 0.20, -0.45),
    Category("Competitor B", 0.16, 0.05),
    Category("Competitor C", 0.12, -0.25),
    Category("Competitor D", 0.08, -0.80),
)
TYPES = (Category("New Business", 0.0, -0.15), Category("Existing Business", 0.0, 0.40))
COUNTRIES = (
    Category("United States", 0.38, 0.0),
    Category("Canada", 0.07, 0.0),
    Category("Germany", 0.16, 0.0),
    Category("United Kingdom", 0.13, 0.0),
    Category("France", 0.10, 0.0),
    Category("Japan", 0.09, 0.0),
    Category("Australia", 0.07, 0.0),
)
REGION_OF_COUNTRY = ("Americas", "Americas", "EMEA", "EMEA", "EMEA", "APAC", "APAC")
TEAMS = ("Americas", "EMEA", "APAC")
PRODUCTS = (
    Category("Basic", 0.24, 0.20),
    Category("Plus", 0.22, 0.25),
    Category("Premium", 0.18, 0.05),
    Category("Analytics", 0.14, -0.10),
    Category("Integration", 0.12, -0.25),
    Category("Enterprise", 0.10, -0.45),
)
LIST_PRICES = np.array([600.0, 1500.0, 3200.0, 4800.0, 7500.0, 18000.0])


def names(categories: tuple[Category, ...]) -> list[str]:
    """The labels in order: position in the world's arrays -> text of the export."""
    return [category.label for category in categories]
