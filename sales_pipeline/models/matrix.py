"""The border to pandas: features and attributes at rest become one frame, with the keys and outcomes beside it.

Belongs here: reading, pivoting, aligning, naming. Does not belong here: anything learnt from the rows (`encoding`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.domain.time import AsOf
from sales_pipeline.features.catalogue import FEATURES
from sales_pipeline.lake.tables import TableRef, read_schema, read_table

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Kind = Literal["number", "boolean", "category"]

DAY = 86_400_000_000
"""Microseconds of a day."""
ATTRIBUTE_PREFIX = "attribute:"
VALUE_PREFIX = "value:"
"""Of the names features and attributes have in a table where they are joined to their spine, whose columns share some of their names."""
_TEXT = pd.StringDtype(na_value=np.nan)
_KEY = ("opportunity_id", "as_of")
"""What pandas takes texts for."""
FEATURES_BY_NAME = {feature.name: feature for feature in FEATURES}


class FeatureTables(Protocol):
    """What training and scoring need of a feature set (`features.build.FeatureSet` is one)."""

    @property
    def key(self) -> str:
        """Digest of everything the set depends on."""
        ...

    @property
    def as_of(self) -> AsOf:
        """The instant it was built for."""
        ...

    @property
    def spine(self) -> TableRef:
        """SPINE."""
        ...

    @property
    def features(self) -> TableRef:
        """The spine's keys and one column per catalogue feature."""
        ...

    @property
    def attributes(self) -> TableRef:
        """OPPORTUNITY_ATTRIBUTES of the spine's opportunities."""
        ...

    @property
    def outcomes(self) -> TableRef:
        """OUTCOMES as known before `as_of`."""
        ...

    @property
    def absent(self) -> Mapping[str, str]:
        """Reason by feature the data set cannot have."""
        ...

    @property
    def has_history(self) -> bool:
        """Whether stages of the past are known."""
        ...


@dataclass(frozen=True)
class SourceColumn:
    """One column of a matrix's frame, and how a reason speaks of it (`{value}` stands for the formatted value)."""

    name: str
    kind: Kind
    label: str
    unit: str = ""
    up_text: str = ""
    down_text: str = ""
    missing_text: str = ""
    negative_text: str = ""
    is_date: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class Matrix:
    """Rows of a spine, twice: what models see, and what they are keyed and judged by.

    frame
        One row per spine row: float64 for numbers and booleans (NaN: missing), text for categories (None: missing).
    keys
        Same rows: opportunity_id, kind, account_id, owner_id, product_id, stage, currency (text, None: missing), amount, crm_probability, as_of_us,
        created_us, crm_close_us (the end of that day in UTC), is_won (1/0), closed_us, won_amount (float64, NaN: missing or, for outcomes, still open).
        `_us` are microseconds since 1970-01-01 UTC, which float64 holds exactly.
    """

    frame: pd.DataFrame
    keys: pd.DataFrame
    columns: tuple[SourceColumn, ...]

    def take(self, rows: Indices) -> Matrix:
        """Those rows, in that order."""
        return Matrix(
            self.frame.iloc[rows].reset_index(drop=True), self.keys.iloc[rows].reset_index(drop=True), self.columns
        )

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True)
class Encoded:
    """Rows as estimators see them: the numeric matrix, the source column each of its columns comes from, and the keys."""

    x: Floats
    keys: pd.DataFrame
    groups: Indices

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: Indices) -> Encoded:
        """Those rows, in that order."""
        return Encoded(self.x[rows], self.keys.iloc[rows].reset_index(drop=True), self.groups)


@dataclass(frozen=True)
class Texts:
    """A column of texts by its distinct values: `names`, of which None stands for missing, and the `number` of each row's among them."""

    number: Indices
    names: tuple[str | None, ...]

    @classmethod
    def of(cls, values: pd.Series | npt.NDArray[Any]) -> Texts:
        """From a column of texts."""
        number, names = pd.factorize(values, use_na_sentinel=False)
        return cls(np.asarray(number, dtype=np.int64), tuple(None if pd.isna(name) else str(name) for name in names))

    def mapped(self, value_of: Callable[[str | None], Any], dtype: npt.DTypeLike = np.float64) -> npt.NDArray[Any]:
        """What `value_of` says of each row's text; it is asked once for each distinct one."""
        return np.array([value_of(name) for name in self.names], dtype=dtype)[self.number]

    def take(self, rows: Any) -> Texts:
        """Those rows."""
        return Texts(self.number[rows], self.names)


def load_matrix(features: FeatureTables, usable: Sequence[str] | None = None, *, with_outcomes: bool = True) -> Matrix:
    """The matrix of a feature set, sorted by (opportunity_id, as_of); without outcomes (as if all were open) where nothing is judged by them.

    `usable` names catalogue features and attributes (as `attribute:<name>`); None takes every catalogue feature that is there and no
    attribute. Names without a column (absent tables) give an all-missing column, so that a model trained on a richer export still scores.
    """
    there = read_schema(features.features).names
    if usable is None:
        usable = [name for name in there if name in FEATURES_BY_NAME]
    needed = [name for name in there if name in _KEY or name in usable]
    spine, wide = (
        table.sort_by([(name, "ascending") for name in _KEY])
        for table in (read_table(features.spine), read_table(features.features, needed))
    )
    if wide.num_rows != spine.num_rows:
        raise ValueError(f"features hold {wide.num_rows} rows, their spine {spine.num_rows}")
    outcomes = ["opportunity_id", "is_won", "closed_at", "won_amount"]
    keys = _keys(spine, read_table(features.outcomes, outcomes) if with_outcomes else None)
    columns: list[SourceColumn] = []
    data: dict[str, npt.NDArray[Any]] = {}
    for name in usable:
        if name not in FEATURES_BY_NAME:
            continue
        column = catalogue_column(name)
        columns.append(column)
        data[name] = (
            _values(wide.column(name), column.kind) if name in wide.column_names else _missing(column.kind, len(keys))
        )
    wanted = [name.removeprefix(ATTRIBUTE_PREFIX) for name in usable if name.startswith(ATTRIBUTE_PREFIX)]
    if wanted:
        found, values = _attributes(read_table(features.attributes), wanted, keys)
        columns.extend(found)
        data.update(values)
    return Matrix(pd.DataFrame(data, index=range(len(keys))), keys, tuple(columns))


def catalogue_column(name: str) -> SourceColumn:
    """A catalogue feature as a column of a matrix. KeyError where there is no such feature."""
    feature = FEATURES_BY_NAME[name]
    return SourceColumn(
        name,
        feature.type,
        feature.meaning,
        feature.unit,
        feature.up_text,
        feature.down_text,
        feature.missing_text,
        feature.negative_text,
    )


def attribute_column(attribute: str, kind: str) -> SourceColumn | None:
    """An attribute of that kind (OPPORTUNITY_ATTRIBUTES) as a column; None for kinds that are none (free text, identifiers)."""
    if kind in ("text", "identifier"):
        return None
    kinds: dict[str, Kind] = {"category": "category", "boolean": "boolean"}
    label = attribute.removesuffix("__c").replace("_", " ").strip()
    return SourceColumn(ATTRIBUTE_PREFIX + attribute, kinds.get(kind, "number"), label, is_date=kind == "date")


def joined_matrix(rows: pa.Table, found: Sequence[SourceColumn], columns: Sequence[SourceColumn]) -> Matrix:
    """Rows of a spine joined with their features and attributes (`scoring_rows`) as a matrix of exactly `columns`.

    `found` are the columns as they are in this data set, each under its name prefixed with `VALUE_PREFIX`; what of `columns` is not among them, or has
    become something else, is all missing (`align`). Outcomes are not known.
    """
    keys = _keys(rows, None)

    def values(column: SourceColumn) -> Any:
        held = _values(rows.column(VALUE_PREFIX + column.name), column.kind)
        return keys["as_of_us"].to_numpy(dtype=np.float64) / DAY - held if column.is_date else held

    return _aligned(keys, columns, {column.name: column for column in found}, values)


def align(matrix: Matrix, columns: Sequence[SourceColumn]) -> Matrix:
    """The matrix with exactly those columns, in that order.

    A column it lacks is all missing, and so is one that has become something else since the columns were learnt: an attribute's type is found
    anew in every export, and the text of a number, or the days since a date, mean nothing to who learnt an amount.
    """
    if matrix.columns == tuple(columns) and list(matrix.frame) == [column.name for column in columns]:
        return matrix
    told = {column.name: column for column in matrix.columns}
    found = {column.name: told.get(column.name, column) for column in columns if column.name in matrix.frame}
    return _aligned(matrix.keys, columns, found, lambda column: matrix.frame[column.name].array)


def _aligned(
    keys: pd.DataFrame,
    columns: Sequence[SourceColumn],
    found: Mapping[str, SourceColumn],
    values: Callable[[SourceColumn], Any],
) -> Matrix:
    """The matrix of those columns: the values of what was found, if it means the same, else missing."""
    data = {
        column.name: values(found[column.name])
        if column.name in found and _meaning(found[column.name]) == _meaning(column)
        else _missing(column.kind, len(keys))
        for column in columns
    }
    return Matrix(pd.DataFrame(data, index=range(len(keys))), keys, tuple(columns))


def _meaning(column: SourceColumn) -> tuple[bool, bool]:
    """What values of a column are, as far as they can be taken for each other: a boolean is a number of 0 and 1."""
    return column.kind == "category", column.is_date


def codes(values: npt.NDArray[Any] | pd.Series) -> Indices:
    """A number from 0 per distinct value, in order of appearance; comparing numbers is what grouping large columns of text comes down to."""
    return np.asarray(pd.factorize(values, use_na_sentinel=False)[0], dtype=np.int64)


def texts(column: pa.ChunkedArray) -> Any:
    """Texts as a frame is made of them: held as Arrow does, NULL as missing."""
    return pd.array(column.cast(pa.large_string()), dtype=_TEXT)


def known_kinds(keys: pd.DataFrame) -> tuple[str, ...]:
    """The kinds (opportunity, lead) of which at least one outcome is known: only of these can anything be learnt."""
    return tuple(sorted(set(keys.loc[keys["is_won"].notna(), "kind"].dropna())))


def of_known_kinds(keys: pd.DataFrame) -> pd.DataFrame:
    """The rows of those kinds; all rows where no outcome is known at all."""
    kinds = known_kinds(keys)
    return keys[keys["kind"].isin(kinds)] if kinds else keys


def _missing(kind: Kind, rows: int) -> npt.NDArray[Any]:
    return np.full(rows, None, dtype=object) if kind == "category" else np.full(rows, np.nan)


def _values(column: pa.ChunkedArray, kind: Kind) -> Any:
    """What a frame is made of: an array of numbers, or of texts that stay as Arrow holds them."""
    if kind == "category":
        return texts(column)
    if pa.types.is_date(column.type):
        column = column.cast(pa.int32())
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _micros(column: pa.ChunkedArray) -> Floats:
    return np.asarray(
        column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).cast(pa.float64()).to_numpy(zero_copy_only=False),
        dtype=np.float64,
    )


def _keys(spine: pa.Table, outcomes: pa.Table | None) -> pd.DataFrame:
    close_days = spine.column("crm_close_date").cast(pa.int32()).cast(pa.float64()).to_numpy(zero_copy_only=False)
    keys = pd.DataFrame(
        {
            **{
                name: _values(spine.column(name), "category")
                for name in ("opportunity_id", "kind", "account_id", "owner_id", "product_id", "stage", "currency")
            },
            "amount": _values(spine.column("amount"), "number"),
            "crm_probability": _values(spine.column("crm_probability"), "number"),
            "as_of_us": _micros(spine.column("as_of")),
            "created_us": _micros(spine.column("created_at")),
            "crm_close_us": (np.asarray(close_days, dtype=np.float64) + 1) * DAY,
            **dict.fromkeys(("is_won", "closed_us", "won_amount"), np.nan),
        }
    )
    if outcomes is not None:
        place = pc.index_in(spine.column("opportunity_id"), value_set=outcomes.column("opportunity_id"))
        found = outcomes.select(["is_won", "closed_at", "won_amount"]).take(place)
        keys["is_won"] = _values(found.column("is_won"), "boolean")
        keys["closed_us"] = _micros(found.column("closed_at"))
        keys["won_amount"] = _values(found.column("won_amount"), "number")
    return keys


def _attributes(
    table: pa.Table, wanted: Sequence[str], keys: pd.DataFrame
) -> tuple[list[SourceColumn], dict[str, npt.NDArray[Any]]]:
    """Attributes pivoted: one value per opportunity. A date becomes its distance before the as-of, in days."""
    columns: list[SourceColumn] = []
    values: dict[str, npt.NDArray[Any]] = {}
    for attribute in wanted:
        part = table.filter(pc.equal(table.column("attribute"), attribute))
        kind = part.column("kind")[0].as_py() if part.num_rows else "text"
        column = attribute_column(attribute, kind)
        if column is None:
            continue
        columns.append(column)
        ids = part.column("opportunity_id").to_numpy(zero_copy_only=False)
        if kind == "category":
            known = pd.Series(
                np.asarray(part.column("text_value").to_numpy(zero_copy_only=False), dtype=object), index=ids
            )
            texts = known.reindex(keys["opportunity_id"]).to_numpy(dtype=object)
            values[column.name] = np.array([None if pd.isna(text) else text for text in texts], dtype=object)
            continue
        numbers = pd.Series(_values(part.column("number_value"), "number"), index=ids)
        found = numbers.reindex(keys["opportunity_id"]).to_numpy(dtype=np.float64)
        values[column.name] = keys["as_of_us"].to_numpy(dtype=np.float64) / DAY - found if column.is_date else found
    return columns, values
