"""One query for all families: their models' joins onto the spine, side by side.

Every family is a model of one shape (`sql/<family>.sql`): its outermost SELECT reads `spine AS s`, joins what it needs so that each row of the spine
stays one row, and names its columns by their tables. So the families need not be computed apart and joined by key: their joins and columns go
into one SELECT, which reads the spine once.

Belongs here: putting the trees together. Does not belong here: what a family computes (`sql/`), running it (`build`).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from sales_pipeline.features.catalogue import FEATURES
from sales_pipeline.features.feature import Feature
from sales_pipeline.features.sql_models import model

_SPINE = "s"


def wide(present: Sequence[Feature]) -> exp.Select:
    """The spine's keys and every feature of the catalogue; features that are not present become NULL columns.

    Tables of accounts, owners and products are joined first, those of the opportunity last: where rows lie on several machines, they are then moved
    by account while they are narrow, and by opportunity once.

    What a family calls its subqueries and joined tables is prefixed by its name, so that two may use the same.
    """
    tree = exp.select(exp.column("opportunity_id", table=_SPINE), exp.column("as_of", table=_SPINE)).from_(
        exp.alias_(exp.to_table("spine"), _SPINE, table=True)
    )
    found: dict[str, exp.Expr] = {}
    subqueries: list[exp.CTE] = []
    joins: list[exp.Join] = []
    for family in dict.fromkeys(feature.family for feature in present):
        part = _prefixed(model(family), family)
        subqueries += part.ctes
        joins += part.args.get("joins") or []
        found |= {f"{family}.{column.alias_or_name}": column for column in part.expressions}
    tree.set("joins", [join.copy() for join in sorted(joins, key=_is_by_opportunity)])
    names = {feature.name for feature in present}
    for feature in FEATURES:
        column = found[f"{feature.family}.{feature.name}"].unalias() if feature.name in names else exp.Null()
        tree.select(exp.alias_(column.copy(), feature.name), copy=False)
    if subqueries:
        tree.set("with_", exp.With(expressions=[subquery.copy() for subquery in subqueries]))
    return tree


def _is_by_opportunity(join: exp.Join) -> bool:
    """Whether a joined table is met by the spine's own key."""
    return any(column.name == "opportunity_id" for column in join.args["on"].find_all(exp.Column))


def _prefixed(tree: exp.Query, family: str) -> exp.Select:
    """A family's tree, its subqueries and the tables its outermost SELECT joins named after the family."""
    if not isinstance(tree, exp.Select):
        raise TypeError(f"the model of family {family} is one SELECT, got {type(tree).__name__}")
    tree = tree.copy()
    own = {subquery.alias for subquery in tree.ctes}
    for subquery in tree.ctes:
        subquery.args["alias"].this.set("this", f"{family}_{subquery.alias}")
    for table in tree.find_all(exp.Table):
        if table.name in own:
            if not table.alias:
                table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name)))
            table.this.set("this", f"{family}_{table.name}")
    joined = {join.this.alias_or_name for join in tree.args.get("joins") or []}
    for join in tree.args.get("joins") or []:
        name = join.this.alias_or_name
        join.this.set("alias", exp.TableAlias(this=exp.to_identifier(f"{family}_{name}")))
    for part in (*tree.expressions, *(tree.args.get("joins") or [])):
        for column in part.find_all(exp.Column):
            if column.table in joined:
                column.args["table"].set("this", f"{family}_{column.table}")
    return tree
