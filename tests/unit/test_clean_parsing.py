"""The parsing macros: the usual notations are read, an impossible value is NULL and never another value."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
import sqlglot

from sales_pipeline.domain.identifiers import to_sfid18
from sales_pipeline.engines.base import Engine
from sales_pipeline.engines.duckdb import DuckDBEngine


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with DuckDBEngine(threads=1) as one:
        yield one


def _read(engine: Engine, expression: str, texts: list[str | None], **parameters: Any) -> list[Any]:
    tree = sqlglot.parse_one(f"SELECT n, {expression} AS v FROM t ORDER BY n", read="duckdb")
    data = pa.table({"n": range(len(texts)), "x": pa.array(texts, pa.string())})
    return engine.query(tree, {"t": data}, parameters=parameters).column("v").to_pylist()  # type: ignore[arg-type]


def _utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


INSTANTS: dict[str, datetime | None] = {
    "2024-01-02T03:04:05.000Z": _utc(2024, 1, 2, 3, 4, 5),
    "2024-01-02T03:04:05.123456789Z": _utc(2024, 1, 2, 3, 4, 5, 123456),
    "2024-01-02 03:04:05": _utc(2024, 1, 2, 2, 4, 5),
    "2024-01-02 7:42:59": _utc(2024, 1, 2, 6, 42, 59),
    "2024-01-02T03:04:05": _utc(2024, 1, 2, 2, 4, 5),
    "2024-01-02  3:04:05": _utc(2024, 1, 2, 2, 4, 5),
    "2024-01-2  03:04:05": _utc(2024, 1, 2, 2, 4, 5),
    "2024-07-02 03:04": _utc(2024, 7, 2, 1, 4),
    "2024-01-02T03:04:05+0800": _utc(2024, 1, 1, 19, 4, 5),
    "2024-01-02T03:04:05 +08:00": _utc(2024, 1, 1, 19, 4, 5),
    "07/15/2009T02:14:45+0800": _utc(2009, 7, 14, 18, 14, 45),
    "7/15/2009 2:14 PM": _utc(2009, 7, 15, 12, 14),
    "1/2/2009 12:00 AM": _utc(2009, 1, 1, 23, 0),
    "15.07.2009 14:05": _utc(2009, 7, 15, 12, 5),
    "20240102": _utc(2024, 1, 1, 23),
    " 2024-01-02 ": _utc(2024, 1, 1, 23),
    "2024年7月2日": _utc(2024, 7, 1, 22),
    "2024年01月02日 03:04": _utc(2024, 1, 2, 2, 4),
    "2024年1月2日3时04分05秒": _utc(2024, 1, 2, 2, 4, 5),
    " 2024年1月2号 ": _utc(2024, 1, 1, 23),
    "2024年1月": None,
    "2024年2月31日": None,
    "2024年1月2日 25:00": None,
    "24年1月2日": None,
    "2024-13-01": None,
    "2024-13-01 03:04:05": None,
    "2024-01-02 03:04:60": None,
    "1969-01-02 03:04:05": None,
    "2024-02-31": None,
    "31/02/2024": None,
    "2024-01-02 24:00:00": None,
    "2024-01-02 12:61:00": None,
    "0001-01-01": None,
    "9999-12-31": None,
    "soon": None,
    "": None,
}


def test_instants(engine: Engine) -> None:
    found = _read(engine, "parse_instant(x, 'ymd', 'Europe/Berlin')", list(INSTANTS))
    assert dict(zip(INSTANTS, found, strict=True)) == INSTANTS


def test_utc_is_read_as_any_zone_without_an_offset_is(engine: Engine) -> None:
    texts = [*INSTANTS, "2024-01-02 03:04:05.25", "2024-01-02T23:59:60", "2024-02-30 01:00:00", "2024-1-2 03:04:005"]
    short, long = (_read(engine, f"parse_instant(x, 'ymd', '{name}')", list(texts)) for name in ("UTC", "Etc/UTC"))
    assert short == long


@pytest.mark.parametrize(
    ("text", "order", "day"),
    [
        ("03/04/2024", "mdy", date(2024, 3, 4)),
        ("03/04/2024", "dmy", date(2024, 4, 3)),
        ("03/04/2024", "ymd", date(2024, 3, 4)),
        ("03-04-2024", "ymd", date(2024, 4, 3)),
        ("03.04.2024", "mdy", date(2024, 4, 3)),
        ("13/04/2024", "mdy", None),
        ("13/04/2024", "dmy", date(2024, 4, 13)),
        ("2024/4/3", "dmy", date(2024, 4, 3)),
        ("2024-04-03T23:30:00-08:00", "ymd", date(2024, 4, 3)),
        ("2024年4月3日", "dmy", date(2024, 4, 3)),
        ("2024年12月03日 23:30", "ymd", date(2024, 12, 3)),
        ("2024年13月3日", "ymd", None),
        ("20024-04-03", "ymd", None),
        ("1969-04-03", "ymd", None),
        ("infinity", "ymd", None),
    ],
)
def test_days(engine: Engine, text: str, order: str, day: date | None) -> None:
    assert _read(engine, "parse_day(x, $date_order)", [text], date_order=order) == [day]


AMOUNTS: dict[str, tuple[str | None, str | None]] = {
    "1,234.56": ("1234.56", "1234.56"),
    "1.234,56 €": ("1234.56", "1234.56"),
    "€ 1.234,56": ("1234.56", "1234.56"),
    "$1,234": ("1234", "1.23"),
    "1.234": ("1.23", "1234"),
    "1.234.567": ("1234567", "1234567"),
    "(1,234.50)": ("-1234.5", "-1234.5"),
    "1234-": ("-1234", "-1234"),
    "-1 234,5": ("-1234.5", "-1234.5"),
    "CHF 1'234.50": ("1234.5", "1234.5"),
    "12,34,567.89": ("1234567.89", "1234567.89"),
    "1\u00a0234,00\u202f€": ("1234", "1234"),
    "500000.0": ("500000", "500000"),
    "2.675": ("2.68", "2675"),
    "10k": (None, None),
    "3 MIO": (None, None),
    "5%": (None, None),
    "1,2,3": (None, None),
    "(5": (None, None),
    "--5": (None, None),
    "99999999999999999999": (None, None),
    "12.5万元": ("125000", "125000"),
    "¥1,200万": ("12000000", "12000"),
    "3千万": ("30000000", "30000000"),
    "1.2亿": ("120000000", "120000000"),
    "2万亿": ("2000000000000", "2000000000000"),
    "人民币 5 万元整": ("50000", "50000"),
    "2.675万": ("26750", "26750000"),
    "5,000元": ("5000", "5"),
    "-3萬": ("-30000", "-30000"),
    "5万CNY": ("50000", "50000"),
    "约5万": (None, None),
    "5-10万": (None, None),
    "5万以上": (None, None),
    "1亿2000万": (None, None),
    "3万5": (None, None),
    "5万美元": (None, None),
    "5百千": (None, None),
    "5千百": (None, None),
    "三万": (None, None),
    "9999999999万亿": (None, None),
}


@pytest.mark.parametrize(("sign", "position"), [(".", 0), (",", 1)])
def test_amounts(engine: Engine, sign: str, position: int) -> None:
    found = _read(engine, "parse_amount(x, $sign)", list(AMOUNTS), sign=sign)
    wanted = [None if pair[position] is None else Decimal(str(pair[position])) for pair in AMOUNTS.values()]
    assert dict(zip(AMOUNTS, found, strict=True)) == dict(zip(AMOUNTS, wanted, strict=True))


def test_exponents_are_read_where_a_point_is_the_decimal_sign(engine: Engine) -> None:
    assert _read(engine, "parse_amount(x, '.')", ["1.0E7", "1e3"]) == [Decimal(10_000_000), Decimal(1000)]


def test_flags(engine: Engine) -> None:
    found = _read(engine, "parse_flag(x)", ["true", "1", " Yes ", "0", "FALSE", "n", " 1", "0 ", "maybe", None])
    assert found == [True, True, True, False, False, False, True, False, None, None]


def test_plain_blanks_around_a_text_are_trimmed_and_those_inside_stay(engine: Engine) -> None:
    found = _read(engine, "trimmed(x)", ["a", " a", "a  b ", "  ", "", None])
    assert found == ["a", "a", "a  b", None, None, None]


def test_salesforce_ids_conform_to_the_domain(engine: Engine) -> None:
    rng = random.Random(3)
    short = ["".join(rng.choices(string.ascii_letters + string.digits, k=15)) for _ in range(500)]
    full = [to_sfid18(value) for value in short]
    texts = [*short, *full, *(v.upper() for v in full), *(v.lower() for v in full), "not an id", " " + short[0]]
    found = _read(engine, "parse_id(x, 'salesforce_folded')", texts)  # type: ignore[arg-type]
    assert found == [to_sfid18(text.strip()) for text in texts]


def test_short_salesforce_ids_are_lengthened_without_looking_for_folded_ones(engine: Engine) -> None:
    found = _read(
        engine,
        "parse_id(x, 'salesforce')",
        ["006D00000000001", " 006D00000000001IAA", "006D00000000001IAA ", " 006D00000000001", " ", None],
    )
    full = to_sfid18("006D00000000001")
    assert found == [full, "006D00000000001IAA", "006D00000000001IAA", full, None, None]


def test_the_text_none_is_a_value(engine: Engine) -> None:
    assert _read(engine, "clean_text(x)", ["None", "  a \t b ", "\u3000", ""]) == ["None", "a b", None, None]


def test_guids_have_one_spelling_and_other_text_stays(engine: Engine) -> None:
    guid = "0AB1C2D3-0000-4000-8000-00000000ABCD"
    found = _read(
        engine, "parse_id(x, 'guid')", [guid, f" {{{guid}}} ", guid.lower(), "Ada  Owner", guid[:-1], "", None]
    )
    assert found == [guid.lower(), guid.lower(), guid.lower(), "Ada Owner", guid[:-1], None, None]
