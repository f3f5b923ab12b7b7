"""The command line in this process: arguments in, exit code and both streams out; and small table exports to run it on."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "data" / "sample"
DATA = ROOT.parent / "shared" / "data"
MAPPINGS = ROOT / "tests" / "mappings"

IGNORED_WARNINGS = (
    "ignore:.*Any type hint is inferred:UserWarning",
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
"""For tests that start MLflow or Dagster in this process: what these libraries warn of among themselves."""


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def done(self) -> Outcome:
        """Itself, where the command ended well."""
        assert self.code == 0, f"exit code {self.code}\n{self.out[-2_000:]}\n{self.err[-4_000:]}"
        return self

    def refused(self, code: int, *words: str) -> Outcome:
        """Itself, where the command ended with this exit code, one message with these words, and no traceback."""
        assert self.code == code, f"exit code {self.code} instead of {code}\n{self.out[-2_000:]}\n{self.err[-4_000:]}"
        assert "Traceback" not in self.text, self.text[-4_000:]
        told = [line for line in self.text.splitlines() if line.startswith("error:")]
        assert len(told) >= 1, self.text[-4_000:]
        for word in words:
            assert word in self.text, f"{word!r} is not told:\n{self.text[-4_000:]}"
        return self

    def refused_by_usage(self) -> Outcome:
        """Itself, where the arguments themselves were wrong."""
        assert self.code == 2, f"exit code {self.code} instead of 2\n{self.text[-2_000:]}"
        assert "Traceback" not in self.text
        return self


def call(*arguments: str | Path) -> Outcome:
    """`sales-pipeline` with these arguments, in this process."""
    from dagster_project.cli import main

    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return Outcome(code, out.getvalue(), err.getvalue())


def write_config(folder: Path, *, mapping: Mapping[str, Any], **settings: Any) -> Path:
    """A pipeline.yaml in `folder`, over `folder`/exports and `folder`/lake unless said otherwise."""
    import yaml

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pipeline.yaml"
    values = {"source_system": "shop", "exports": "exports", "lake": "lake", **settings, "mapping": dict(mapping)}
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path


HEADER = ("Deal", "Seller", "Customer", "Phase", "Opened", "Closed", "Due", "Value", "Source")
COLUMNS = dict(
    zip(
        (
            "opportunity_id",
            "owner_id",
            "account_id",
            "stage",
            "created_at",
            "closed_at",
            "crm_close_date",
            "amount",
            "lead_source",
        ),
        HEADER,
        strict=True,
    )
)
DEALS_MAPPING: dict[str, Any] = {
    "dialect": "table",
    "stages": {"open": ["New", "Offer"], "won": ["Won"], "lost": ["Lost"]},
    "tables": {"opportunities": {"files": ["deals*"], "columns": COLUMNS}},
}
FIRST_DAY, LAST_CLOSING = date(2025, 1, 1), date(2025, 12, 20)


def deals(count: int = 240, *, open_share: float = 0.25, won: float = 0.4, first: int = 0) -> list[tuple[str, ...]]:
    """Records under HEADER: deals of one year by a few sellers; which of them is won is a coin's word, the same every time."""
    rows = []
    for number in range(first, first + count):
        coin = hashlib.sha256(f"deal {number}".encode()).digest()
        opened = FIRST_DAY + timedelta(days=(number * 365) // max(count + first, 1))
        closed = opened + timedelta(days=5 + coin[1] % 60)
        is_open = coin[0] < 256 * open_share or closed > LAST_CLOSING
        phase = ("New", "Offer")[coin[2] % 2] if is_open else ("Won" if coin[3] < 256 * won else "Lost")
        rows.append(
            (
                f"D{number:05d}",
                f"S{coin[4] % 4}",
                f"C{coin[5] % 30:03d}",
                phase,
                opened.isoformat(),
                "" if is_open else closed.isoformat(),
                (closed + timedelta(days=3)).isoformat(),
                f"{100 + 10 * coin[6]}.00",
                ("web", "fair", "partner")[coin[7] % 3],
            )
        )
    return rows


def csv_text(
    rows: Iterable[Sequence[str]], header: Sequence[str] = HEADER, *, delimiter: str = ",", end: str = "\n"
) -> str:
    """Rows as delimited text with a header."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end)
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


def files_under(folder: Path) -> dict[str, str]:
    """The digest of every file below a folder, by its path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
