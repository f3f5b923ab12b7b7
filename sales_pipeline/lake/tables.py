"""Tables on disk: Parquet files under a contract, handed over between steps as a `TableRef`.

Belongs here: writing and reading one table. Does not belong here: bulk transformation (engines) and meaning (contracts).
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.model import Table

# One row group size and codec everywhere, so that equal rows give equal bytes.
PARQUET_OPTIONS: dict[str, Any] = {"compression": "zstd", "row_group_size": 122_880, "write_statistics": True}
PARQUET = ".parquet"
_LOOKED_AT = 10_000


@dataclass(frozen=True)
class TableRef:
    """A table at rest: its name, its Parquet file, its row count and the sha256 of the file's bytes.

    A large table may be a folder of Parquet files, its parts; the digest then is that of their names and digests.
    """

    name: str
    path: str
    rows: int
    sha256: str

    @property
    def files(self) -> list[Path]:
        """The file, or the parts in the order of their names."""
        path = Path(self.path)
        return sorted(path.glob(f"*{PARQUET}")) if path.is_dir() else [path]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TableRef:
        """The inverse of `to_dict`."""
        return cls(name=data["name"], path=data["path"], rows=int(data["rows"]), sha256=data["sha256"])


def file_sha256(path: Path) -> str:
    """sha256 of a file, read in blocks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def table_ref(name: str, path: Path) -> TableRef:
    """A reference to a Parquet file that is there, or to a folder of parts."""
    files = TableRef(name, str(path), 0, "").files
    digests = [file_sha256(file) for file in files]
    if path.is_dir():
        told = "".join(f"{file.name} {digest}\n" for file, digest in zip(files, digests, strict=True))
        digests = [hashlib.sha256(told.encode()).hexdigest()]
    return TableRef(name, str(path), sum(pq.read_metadata(file).num_rows for file in files), digests[0])


def take_over(ref: TableRef, target: Path, *, but: Collection[str] = ()) -> None:
    """The same bytes at another place, of parts all `but` those of these names: as hard links, which take no room, where the file system has them."""
    if not Path(ref.path).is_dir():
        _link(Path(ref.path), target)
        return
    target.mkdir(exist_ok=True)
    for file in ref.files:
        if file.stem not in but:
            _link(file, target / file.name)


def _link(path: Path, target: Path) -> None:
    try:
        target.hardlink_to(path)
    except OSError:
        shutil.copyfile(path, target)


def conform(data: pa.Table, contract: Table) -> pa.Table:
    """`data` under a contract: its columns in order, cast without loss, floats rounded, sorted by the key.

    Raises KeyError when a column is missing and pyarrow.ArrowInvalid when a value does not fit its type or a required
    column holds NULL.
    """
    schema = arrow_schema(contract)
    columns: list[pa.ChunkedArray] = []
    for column, target in zip(contract.columns, schema, strict=True):
        values = data.column(column.name)
        if column.decimals is not None and values.type == pa.float64():
            values = pc.round(values, ndigits=column.decimals)
        if values.type != target.type:
            values = values.cast(target.type)
        if column.required and values.null_count:
            raise pa.ArrowInvalid(f"{contract.name}.{column.name} is required and holds {values.null_count} NULL")
        columns.append(values)
    table = pa.Table.from_arrays(columns, schema=schema)
    return table.sort_by([(name, "ascending") for name in contract.key]).combine_chunks()


def write_table(data: pa.Table, path: Path, contract: Table | None = None) -> TableRef:
    """Write one table as Parquet, under its contract where one is given, and return the reference to it."""
    table = conform(data, contract) if contract is not None else data
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **PARQUET_OPTIONS)
    return table_ref(contract.name if contract is not None else path.stem, path)


def write_pieces(
    pieces: Iterable[pa.Table], path: Path, schema: pa.Schema, *, is_encoded_by_look: bool = False
) -> None:
    """Write tables end to end as one Parquet file, a row group in memory at a time; how the rows were cut into pieces changes no byte.

    With `is_encoded_by_look` the first rows say how columns are encoded, which is cheaper to write and to read where rows are many: whole
    numbers by their differences, and no dictionary for texts that hardly repeat.
    """
    size = int(PARQUET_OPTIONS["row_group_size"])
    options = {name: value for name, value in PARQUET_OPTIONS.items() if name != "row_group_size"}
    path.parent.mkdir(parents=True, exist_ok=True)
    groups = _groups(pieces, schema, size)
    first = next(groups, schema.empty_table())
    with pq.ParquetWriter(path, schema, **options, **(_encodings(first) if is_encoded_by_look else {})) as writer:
        if first.num_rows:
            writer.write_table(first)
        for group in groups:
            writer.write_table(group)


def _groups(pieces: Iterable[pa.Table], schema: pa.Schema, size: int) -> Iterator[pa.Table]:
    """The rows of the pieces, so many at a time."""
    waiting = schema.empty_table()
    for piece in pieces:
        piece = piece.cast(schema)
        waiting = pa.concat_tables([waiting, piece]) if waiting.num_rows else piece
        while waiting.num_rows >= size:
            yield waiting.slice(0, size).combine_chunks()
            waiting = waiting.slice(size)
    if waiting.num_rows:
        yield waiting.combine_chunks()


def _encodings(first: pa.Table) -> dict[str, Any]:
    """How to write a table that begins so."""
    numbers = [field.name for field in first.schema if pa.types.is_integer(field.type)]
    seen = first.slice(0, _LOOKED_AT)
    repeating = [
        name
        for name in first.column_names
        if name not in numbers and pc.count_distinct(seen.column(name)).as_py() * 2 <= max(seen.num_rows, 1)
    ]
    return {"use_dictionary": repeating, "column_encoding": dict.fromkeys(numbers, "DELTA_BINARY_PACKED")}


def read_table(ref: TableRef | Path, columns: list[str] | None = None) -> pa.Table:
    """The whole table in memory; for tables known to be small."""
    files = ref.files if isinstance(ref, TableRef) else [ref]
    return pa.concat_tables([pq.read_table(file, columns=columns) for file in files])


def read_matching(ref: TableRef, columns: list[str], key: str, values: pa.Array) -> pa.Table:
    """The rows whose `key` is among the values, in the file's order; of a table of any size, as only a batch of the others is in memory."""
    parts = (
        batch.filter(pc.is_in(batch.column(key), value_set=values)) for batch in read_batches(ref, columns=columns)
    )
    schema = read_schema(ref)
    return pa.Table.from_batches(parts, pa.schema([schema.field(name) for name in columns])).select(columns)


def read_batches(ref: TableRef, *, columns: list[str], rows: int = 65_536) -> Iterator[pa.RecordBatch]:
    """The rows in the files' order, at most so many at a time, with these columns in the files' order."""
    for file in ref.files:
        yield from pq.ParquetFile(file).iter_batches(batch_size=rows, columns=columns)


def read_schema(ref: TableRef) -> pa.Schema:
    """Columns and types of a table at rest."""
    return pq.read_schema(ref.files[0])


def only_value(ref: TableRef, column: str) -> str | None:
    """The value of a text column that holds the same one in every row, by the file's statistics; None where values differ, are missing, or are not told of."""
    groups = pq.read_metadata(ref.path)
    place = next((i for i in range(groups.num_columns) if groups.schema.column(i).path == column), None)
    if place is None:
        return None
    found: set[str | None] = set()
    for number in range(groups.num_row_groups):
        told = groups.row_group(number).column(place).statistics
        is_one = told is not None and told.has_min_max and told.null_count == 0 and told.min == told.max
        found.add(str(told.min) if is_one else None)
    return found.pop() if len(found) == 1 else None
