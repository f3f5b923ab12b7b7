"""The delivered state at rest: what a target is known to hold of ours, and which kits left for it.

    deliveries/<target>/kits/<delivery_id>/       kits, immutable
    deliveries/<target>/settlements/current.json  which files make the state; replaced atomically
    deliveries/<target>/settlements/<sha256>.parquet   held records by object, and those deleted there; results by kit

Under one writer: the caller holds the target's lock. A reader sees the state before a settlement or the one after.

Belongs here: reading and replacing. Does not belong here: how results move it (`settle`).
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.errors import EnvironmentProblem
from sales_pipeline.lake.durable import write_bytes
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import PARQUET_OPTIONS, file_sha256

_POINTER = "current.json"
HELD = "held."
DELETED = "deleted."
"""Before an object's name: its records that somebody deleted in the target. No object's name has a full stop."""

_KNOWN = pa.schema(
    [
        ("key", pa.string()),
        ("is_in_flight", pa.bool_()),
        ("remote_id", pa.string()),
        ("run_id", pa.string()),
        ("order", pa.int64()),
    ]
)
_ASIDE = ("remote_id", "run_id", "order")


@dataclass(frozen=True)
class KitStatus:
    """What is known of one kit that was handed over: rows by outcome.

    `order` numbers the hand-overs of a target; `unknown` rows have no answer yet. `is_discarded`: somebody threw the kit away before it was
    imported. `deleted` rows were refused because somebody had deleted the record in the target. `is_dropped`:
    its folder is gone (`retention`), and the answers to it are forgotten.
    """

    delivery_id: str
    order: int
    run_id: str
    as_of: str
    rows: int
    succeeded: int = 0
    failed: int = 0
    unprocessed: int = 0
    deleted: int = 0
    unknown: int = 0
    is_discarded: bool = False
    is_rollback_of: str | None = None
    is_dropped: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether the end of every row is known."""
        return self.is_discarded or self.unknown == 0


@dataclass(frozen=True)
class DeliveredState:
    """What a target is known to hold.

    `objects` (held records, and after `deleted.` those deleted there) and `results` name files by object and by kit. `state_id` is a digest of the held texts alone: equal holdings have equal ids, whichever
    deliveries they came by.
    """

    folder: Path
    objects: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    results: Mapping[str, str] = field(default_factory=dict)
    kits: tuple[KitStatus, ...] = ()

    @property
    def state_id(self) -> str:
        """A digest of what is held; the same for every target of which nothing is known."""
        return digest_of({name: digest for name, (_, digest) in self.objects.items()})

    def held(self, object_name: str) -> pa.Table:
        """Records of an object, sorted by key.

        Columns: `key`, `is_in_flight` (may be sent only once, is on its way, no answer yet), `remote_id`, `run_id`, `order` (of the hand-over that set it),
        and `held.<field>` (text; NULL: never set).
        """
        if object_name not in self.objects:
            return _KNOWN.empty_table()
        return pq.read_table(_verified(self.folder / self.objects[object_name][0]))

    def held_rows(self, object_name: str) -> HeldRows:
        """The same a column at a time, for large objects."""
        known = self.objects.get(object_name)
        return HeldRows(None if known is None else _verified(self.folder / known[0]))

    @property
    def settled(self) -> int:
        """How many kits came to their end. It goes into a kit's id: rows that come again are another delivery."""
        return sum(kit.is_settled for kit in self.kits)

    def deleted(self, object_name: str) -> pa.Array:
        """Keys of an object's records that somebody deleted in the target, and that are therefore not made again; they are not held."""
        return self.held(f"{DELETED}{object_name}")["key"].combine_chunks()

    def results_of(self, delivery_id: str) -> pa.Table | None:
        """DELIVERY_RESULTS known of a kit; None where there are none."""
        name = self.results.get(delivery_id)
        return None if name is None else pq.read_table(_verified(self.folder / name))

    def kit(self, delivery_id: str) -> KitStatus | None:
        """The status of a kit; None when it was not handed over."""
        return next((kit for kit in self.kits if kit.delivery_id == delivery_id), None)


class HeldRows:
    """Records of an object read a column at a time; the columns are those of `DeliveredState.held`, a field that was never set is NULL."""

    def __init__(self, path: Path | None) -> None:
        self._file = None if path is None else pq.ParquetFile(path)
        self.num_rows = 0 if self._file is None else self._file.metadata.num_rows

    def column(self, name: str) -> pa.Array:
        """One column."""
        if self._file is None or name not in self._file.schema_arrow.names:
            return pa.nulls(self.num_rows, _KNOWN.field(name).type if name in _KNOWN.names else pa.string())
        return self._file.read(columns=[name]).column(0).combine_chunks()


def in_key_order(table: pa.Table) -> pa.Table:
    """The table sorted by `key`; the table itself, not a copy, where it is."""
    keys = table["key"].combine_chunks()
    is_sorted = len(keys) < 2 or pc.all(pc.less_equal(keys[:-1], keys[1:])).as_py()
    return (table if is_sorted else table.sort_by("key")).combine_chunks()


def target_folder(lake: Lake, target: str) -> Path:
    """Everything of the deliveries to a target."""
    return lake.deliveries / target


def kits_folder(lake: Lake, target: str) -> Path:
    """Kits of a target, a folder each."""
    return target_folder(lake, target) / "kits"


def read_state(lake: Lake, target: str) -> DeliveredState:
    """The state of a target; an empty one before its first delivery."""
    folder = target_folder(lake, target) / "settlements"
    pointer = folder / _POINTER
    if not pointer.is_file():
        return DeliveredState(folder)
    entries = json.loads(pointer.read_text(encoding="utf-8"))
    return DeliveredState(
        folder,
        {name: (file, digest) for name, (file, digest) in entries["objects"].items()},
        entries["results"],
        tuple(KitStatus(**kit) for kit in entries["kits"]),
    )


def replace_state(
    state: DeliveredState,
    *,
    held: Mapping[str, pa.Table],
    results: Mapping[str, pa.Table],
    kits: Iterable[KitStatus],
) -> DeliveredState:
    """Write the objects and results given, keep the others, and let the pointer name them in one act."""
    objects = {**state.objects, **{name: _write_held(state.folder, table) for name, table in held.items()}}
    objects = {name: (file, digest) for name, (file, digest) in sorted(objects.items()) if digest}
    named = {**state.results, **{name: _write(state.folder, table) for name, table in results.items()}}
    known = tuple(kits)
    dropped = {kit.delivery_id for kit in known if kit.is_dropped}
    named = {delivery_id: file for delivery_id, file in named.items() if delivery_id not in dropped}
    new = DeliveredState(state.folder, objects, named, known)
    entries = {
        "objects": {name: list(pair) for name, pair in new.objects.items()},
        "results": dict(new.results),
        "kits": [asdict(kit) for kit in new.kits],
    }
    write_bytes(state.folder / _POINTER, (json.dumps(entries, indent=1, sort_keys=True) + "\n").encode())
    _drop_unnamed(new)
    return new


def _drop_unnamed(state: DeliveredState) -> None:
    """Remove files no settlement names any more."""
    named = {file for file, _ in state.objects.values()} | set(state.results.values())
    for path in state.folder.glob("*.parquet"):
        if path.name not in named:
            path.unlink()


def _write_held(folder: Path, table: pa.Table) -> tuple[str, str]:
    """The file of an object's records and the digest of what they hold; the digest of no records is empty."""
    ordered = in_key_order(table)
    content = ordered.drop_columns([name for name in _ASIDE if name in ordered.column_names])
    names = sorted(name for name in content.column_names if content[name].null_count < content.num_rows)
    digest = _digest(content.select(names)) if content.num_rows else ""
    return _write(folder, ordered), digest


def _digest(table: pa.Table) -> str:
    class _Hash(io.RawIOBase):
        def __init__(self) -> None:
            self.sha256 = hashlib.sha256()

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.sha256.update(data)
            return len(data)

    sink = _Hash()
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), table.schema) as writer:
        writer.write_table(table)
    return sink.sha256.hexdigest()


def _write(folder: Path, table: pa.Table) -> str:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **PARQUET_OPTIONS)
    data = buffer.getvalue()
    name = f"{hashlib.sha256(data).hexdigest()}.parquet"
    if not (folder / name).is_file():
        write_bytes(folder / name, data)
    return name


def _verified(path: Path) -> Path:
    if not path.is_file() or f"{file_sha256(path)}.parquet" != path.name:
        raise EnvironmentProblem(
            "what is known of a target was changed or lost",
            expected="a file whose name is its sha256",
            found="other bytes" if path.is_file() else "no such file",
            where=str(path),
            fix="restore the target's `settlements` folder from a backup; without it the next delivery cannot tell what changed",
        )
    return path
