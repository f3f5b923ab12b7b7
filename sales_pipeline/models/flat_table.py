"""Any flat table as a typed frame: CSV, TSV, Excel or Parquet.

Nothing is taken for missing but what is said to be: the text "None" stays a value. Belongs here: reading and typing. Does not belong here:
exports of a CRM (`ingest`, which keeps a ledger) and what is fitted on the frame (`flat`).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sales_pipeline.errors import ConfigurationError, InputRejected

MISSING_TOKENS = ("", "Select", "NULL", "null", "NaN", "nan", "N/A", "n/a", "#N/A")
DELIMITED = (".csv", ".tsv", ".txt")
EXCEL = (".xlsx", ".xls", ".xlsm", ".ods")
PARQUET = (".parquet", ".pq")


def read_flat(path: Path, *, missing: Sequence[str] = MISSING_TOKENS) -> pd.DataFrame:
    """The table, each column float64 where every value is a number, else text (None: missing).

    Raises ConfigurationError when there is no such file or its kind is unknown, InputRejected when it cannot be read.
    """
    if not path.is_file():
        raise ConfigurationError(
            "no such file", expected="a table", found="nothing", where=str(path), fix="name a file that is there"
        )
    suffix = path.suffix.lower()
    try:
        if suffix in DELIMITED:
            frame = _read_delimited(path)
        elif suffix in EXCEL:
            frame = pd.read_excel(path, dtype=object, keep_default_na=False, na_values=[], engine="calamine")
        elif suffix in PARQUET:
            frame = pd.read_parquet(path)
        else:
            raise ConfigurationError(
                "unknown kind of file",
                expected=", ".join((*DELIMITED, *EXCEL, *PARQUET)),
                found=suffix or "no suffix",
                where=str(path),
                fix="convert the table to CSV",
            )
    except (ValueError, OSError, csv.Error) as error:
        raise InputRejected(
            "the table cannot be read",
            expected="one header line and records of the same width",
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            where=str(path),
            fix="repair the file, or save it again as UTF-8 CSV",
        ) from error
    frame.columns = [str(name).strip() for name in frame.columns]
    repeated = sorted({name for name in frame.columns if list(frame.columns).count(name) > 1})
    if repeated or not len(frame):
        raise InputRejected(
            "the table has columns of the same name" if repeated else "the table has no records",
            expected="distinct column names" if repeated else "a header and records",
            found=", ".join(repeated) if repeated else "a header only",
            where=str(path),
            fix="rename the columns" if repeated else "check that the export is complete",
        )
    tokens = set(missing)
    return pd.DataFrame({name: _typed(frame[name], tokens) for name in frame.columns})


def _read_delimited(path: Path) -> pd.DataFrame:
    data = path.read_bytes()
    if b"\x00" in data[:100_000] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("NUL bytes in a text file")
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else _encoding(data)
    header = data[:100_000].decode(encoding, errors="ignore").split("\n", 1)[0]
    delimiter = max(",;\t|", key=header.count)
    return pd.read_csv(
        path, sep=delimiter, dtype=str, keep_default_na=False, na_filter=False, encoding=encoding, index_col=False
    )


def _encoding(data: bytes) -> str:
    """The strict ladder: a byte order mark or UTF-8, else GB18030; ValueError (UnicodeDecodeError) when neither fits."""
    try:
        data.decode("utf-8-sig")
        return "utf-8-sig"
    except UnicodeDecodeError:
        data.decode("gb18030")
        return "gb18030"


def _typed(values: pd.Series[Any], missing: set[str]) -> pd.Series[Any]:
    if pd.api.types.is_bool_dtype(values) or pd.api.types.is_numeric_dtype(values):
        return pd.Series(values, dtype="float64")
    if pd.api.types.is_datetime64_any_dtype(values):
        return pd.Series(values.dt.strftime("%Y-%m-%dT%H:%M:%S"), dtype=object)
    texts = [None if value is None or value != value else str(value).strip() for value in values]
    kept = pd.Series([None if text is None or text in missing else text for text in texts], dtype=object)
    known = kept.dropna()
    if len(known):
        numbers = pd.to_numeric(known, errors="coerce")
        if numbers.notna().all():
            return pd.Series(pd.to_numeric(kept, errors="coerce"), dtype="float64")
    return kept
