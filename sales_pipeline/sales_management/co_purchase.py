"""Which product fits next: products bought by the same accounts.

Rules of one product to another with support (accounts that bought both), confidence (share of the buyers of the one that bought the other too) and lift
(that share over the one among all buyers): Agrawal, Imieliński & Swami, "Mining association rules between sets of items in large databases", 1993;
lift after Brin, Motwani, Ullman & Tsur, "Dynamic itemset counting and implication rules", 1997.

Belongs here: counting pairs, choosing for an account. Does not belong here: what counts as bought (`sql/account_products.sql`).
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sales_pipeline.sales_management.params import AccountParams


@dataclass(frozen=True)
class Rule:
    """Who bought `because` also buys `product`."""

    because: str
    product: str
    support: int
    confidence: float
    lift: float


def rules(baskets: Iterable[frozenset[str]], params: AccountParams) -> dict[str, list[Rule]]:
    """By the product bought, the rules with enough support and lift, the most confident first (then by lift, then by id).

    An account that bought very many products says little of any pair and costs their square: its first `max_basket` by id are read.
    """
    count = 0
    singles: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for basket in baskets:
        count += 1
        bought = sorted(basket)[: params.max_basket]
        singles.update(bought)
        pairs.update(itertools.combinations(bought, 2))
    found: defaultdict[str, list[Rule]] = defaultdict(list)
    for (one, other), support in pairs.items():
        if support < params.min_support:
            continue
        for because, product in ((one, other), (other, one)):
            confidence = support / singles[because]
            lift = confidence / (singles[product] / count)
            if lift >= params.min_lift:
                found[because].append(Rule(because, product, support, confidence, lift))
    return {because: sorted(some, key=_order) for because, some in found.items()}


def next_product(
    bought: frozenset[str], known: Mapping[str, list[Rule]], *, without: frozenset[str] = frozenset()
) -> Rule | None:
    """The best rule from anything bought to a product not bought, and not among `without` (what is on offer already)."""
    fitting = [
        next(
            (rule for rule in known.get(because, ()) if rule.product not in bought and rule.product not in without),
            None,
        )
        for because in sorted(bought)
    ]
    return min((rule for rule in fitting if rule is not None), key=_order, default=None)


def _order(rule: Rule) -> tuple[float, float, str, str]:
    return (-rule.confidence, -rule.lift, rule.product, rule.because)
