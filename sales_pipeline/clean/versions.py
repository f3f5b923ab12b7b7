"""Records of one key: which of them is the latest, and stands for all.

Belongs here: the keys of staged tables and the order of the records of one. Does not belong here: what makes a record unusable (sql/), what the
ledger says about it (`ledger`).
"""

from __future__ import annotations

from sqlglot import exp

from sales_pipeline.engines.base import Engine, WorkTable
from sales_pipeline.engines.compiler import DIALECT

KEYS: dict[str, tuple[str, ...]] = {
    "accounts": ("account_id",), "contacts": ("contact_id",), "owners": ("owner_id",), "products": ("product_id",), "opportunities": ("opportunity_id",),
    "state_history": ("opportunity_id", "changed_at", "change_id", "content"), "field_history": ("opportunity_id", "changed_at", "field", "change_id", "content"),
    "activities": ("activity_id",), "opportunity_products": ("line_id",), "quotas": ("owner_id", "period_start"), "cases": ("case_id",),
    "exchange_rates": ("currency", "valid_from"),
}  # fmt: skip
"""By raw table (without `raw_`): the columns that say what a record is about. `content` tells changes apart that the CRM gives no id."""


def repeated_records(name: str, staged: WorkTable, engine: Engine) -> WorkTable:
    """Usable records whose key others have too, with `version`, `kept_file` and `kept_record`, which name version 1 of the key.

    The last modified is version 1; of equals that of the newest export, then the last in its file. Most keys occur once, so only those that
    do not are put in order.
    """
    keys = (*KEYS[name], "problem")
    several = (
        exp.select(*keys)
        .from_("staged")
        .where(exp.column("problem").is_(exp.Null()))
        .group_by(*keys)
        .having(exp.Count(this=exp.Star()) > 1)
    )
    partition = [exp.column(key, table="s") for key in keys]
    order = [c for c in ("modified_at", "exported_at", "source_record", "source_file") if c in staged.columns]
    latest_first = [exp.Ordered(this=exp.column(c, table="s"), desc=True, nulls_first=False) for c in order]

    def over(function: exp.Expr, alias: str) -> exp.Expr:
        window = exp.Window(this=function, partition_by=partition, order=exp.Order(expressions=latest_first))
        return exp.alias_(window.copy(), alias)

    tree = (
        exp.select(
            *(exp.column(c, table="s") for c in staged.columns if c != "version"),
            over(exp.RowNumber(), "version"),
            over(exp.FirstValue(this=exp.column("source_file", table="s")), "kept_file"),
            over(exp.FirstValue(this=exp.column("source_record", table="s")), "kept_record"),
        )
        .from_("staged AS s")
        .join("repeated_keys AS k", on=_same(keys), dialect=DIALECT)
    )
    # Held by itself: an engine that spreads rows would move all columns of all records to meet keys of which it cannot know that they are few.
    held = engine.hold(several, {"staged": staged})
    try:
        return engine.hold(tree, {"staged": staged, "repeated_keys": held})
    finally:
        engine.release(held)


def with_versions(name: str, staged: WorkTable, repeated: WorkTable, engine: Engine) -> WorkTable:
    """`staged`, in which every record is version 1, with the versions of the repeated ones in place."""
    keys = (*KEYS[name], "problem")
    first = exp.select(*keys, "version").from_("repeated").where(exp.column("version").eq(1)).subquery("k")
    others = (
        exp.select(*(exp.column(c, table="s") for c in staged.columns))
        .from_("staged AS s")
        .join(first, on=_same(keys), join_type="left")
        .where(exp.column("version", table="k").is_(exp.Null()))
    )
    ranked = exp.select(*staged.columns).from_("repeated")
    return engine.hold(
        exp.union(others, ranked, distinct=False, dialect=DIALECT), {"staged": staged, "repeated": repeated}
    )


def _same(keys: tuple[str, ...]) -> exp.Expr:
    """Equal keys, of which parts may be NULL on both sides."""
    pairs = ((exp.column(key, table="s"), exp.column(key, table="k")) for key in keys)
    return exp.and_(*(exp.NullSafeEQ(this=one, expression=other) for one, other in pairs))
