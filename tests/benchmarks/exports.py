"""Realistic exports of any size: a Salesforce data export of accounts, opportunities, five changes and ten activities each.

Everything follows from a row's number by `hash`, inside DuckDB: no random state, no loop per row, so the same size and seed give the same rows.
The files are clean (no broken record, no odd notation): what hostile files cost is another question than how cost grows with size.
A later day is a delta export: the records made or changed on it, and nothing else. The mapping says so (`extract`, in `bench.CONFIG`).
    python -m tests.benchmarks.exports FOLDER OPPORTUNITIES [csv|parquet [DAY]]

Belongs here: writing such files. Does not belong here: worlds with known truth (sales_pipeline.simulation).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal, cast

import duckdb

Kind = Literal["csv", "parquet"]

CHANGES, TASKS, EVENTS = 5, 8, 2
"""Of every opportunity."""
_STAGES = ("Prospecting", "Qualification", "Proposal", "Negotiation", "Closed Won", "Closed Lost")

CHANGE_DAYS = 23
"""An open opportunity changes on one of so many days: one in two hundred of all opportunities, as about one in eight is open. Half of the changes close it."""
ACTIVE_SHARE, NEW_SHARE, ACCOUNT_SHARE = 10, 1000, 1000
"""Of a day: one in so many open opportunities has an activity, one opportunity is new for so many old ones, one account in so many changes."""

_DRAWN = """
WITH drawn AS (
  SELECT i, hash(i, $seed) AS h, (hash(i, $seed, 1) % 800)::INT AS days_ago, 20 + (hash(i, $seed, 2) % 160)::INT AS life_days,
    (hash(i, $seed, 3) % 36000)::INT AS second, (hash(i, $seed, 4) % $accounts)::BIGINT AS account, (hash(i, $seed, 5) % $owners)::BIGINT AS owner,
    hash(i, $seed, 6) % 100 < 35 AS would_win, 1000 + (hash(i, $seed, 7) % 900)::INT * 100 AS amount
  FROM range(1, $count + $new * $day + 1) AS r(i)
), deals AS (
  SELECT d.*, TIMESTAMP '2026-06-29 08:00:00' - days_ago * INTERVAL 1 DAY + second * INTERVAL 1 SECOND AS created_at, days_ago > life_days AS is_closed,
    least(life_days, greatest(days_ago, 1)) * 86400 // 5 AS step_seconds
  FROM drawn AS d
)
"""
_STATES = """
SELECT d.i, k, created_at + (k * step_seconds) * INTERVAL 1 SECOND AS changed_at,
  CASE WHEN k = 4 AND is_closed THEN CASE WHEN would_win THEN 5 ELSE 6 END ELSE least(k + 1, 4) END AS stage,
  amount + CASE WHEN k >= 2 THEN (h % 50)::INT * 100 ELSE 0 END AS amount,
  (created_at::DATE + life_days + CASE WHEN k >= 3 THEN (h % 30)::INT ELSE 0 END)::DATE AS close_date
FROM deals AS d
"""

_BASE = f"""
CREATE TEMP TABLE deals AS {_DRAWN} SELECT * FROM deals;
CREATE TEMP TABLE states AS {_STATES}, range(5) AS c(k);
CREATE TEMP VIEW opportunities AS
SELECT d.* EXCLUDE (amount), s.stage, s.amount, s.close_date, s.changed_at FROM deals AS d JOIN states AS s USING (i) WHERE s.k = 4;
CREATE TEMP VIEW history AS SELECT i * 5 + k AS number, * FROM states;
CREATE TEMP VIEW tasks AS
SELECT i * 8 + k AS number, i, account, owner, NOT is_closed AND k = 7 AS is_planned, hash(i, k, 41) AS h,
  created_at + (k * step_seconds * 5 // 9 + 1800) * INTERVAL 1 SECOND AS moment, moment AS logged
FROM deals AS d, range(8) AS c(k);
CREATE TEMP VIEW events AS
SELECT i * 2 + k AS number, i, account, owner, hash(i, k, 51) AS h, date_trunc('hour', created_at + ((k + 1) * step_seconds + 7200) * INTERVAL 1 SECOND) AS moment
FROM deals AS d, range(2) AS c(k);
CREATE TEMP VIEW accounts AS SELECT i, 5 + hash(i, 22) % 5000 AS employees, '2024-01-03 11:06:40' AS modified FROM range($accounts) AS r(i);
"""
"""The relations the files are written from. `number` of a day's records starts where none of the first export can be."""

_DAY = f"""
CREATE TEMP TABLE touched AS {_DRAWN}, judged AS (
  SELECT d.* EXCLUDE (created_at), moment, i > $count AS is_new, 1 + hash(hash(i, $seed, 61)) % {CHANGE_DAYS} AS change_day, hash(hash(i, $seed, 63)) % 2 = 0 AS closes,
    CASE WHEN i > $count THEN moment ELSE created_at END AS created_at
  FROM (SELECT *, DATE '2026-06-30' + $day + (28800 + hash(hash(i, $seed, 64, $day)) % 36000)::INT * INTERVAL 1 SECOND AS moment FROM deals) AS d
  WHERE CASE WHEN i > $count THEN i > $count + $new * ($day - 1) ELSE NOT is_closed END
)
SELECT *, NOT is_new AND change_day = $day AS is_changed FROM judged
WHERE is_new OR change_day = $day OR (hash(hash(i, $seed, 62, $day)) % {ACTIVE_SHARE} = 0 AND NOT (closes AND change_day < $day));
CREATE TEMP VIEW opportunities AS
SELECT t.* EXCLUDE (amount, is_closed), is_changed AND closes AS is_closed, moment AS changed_at,
  CASE WHEN is_new THEN 1 WHEN NOT closes THEN 4 WHEN would_win THEN 5 ELSE 6 END AS stage,
  amount + CASE WHEN is_new THEN 0 ELSE (h % 50)::INT * 100 + 100 + (hash(hash(i, 67)) % 20)::INT * 100 END AS amount,
  (moment::DATE + CASE WHEN is_new THEN life_days WHEN closes THEN 0 ELSE 10 + (hash(hash(i, 68)) % 60)::INT END)::DATE AS close_date
FROM touched AS t WHERE is_new OR is_changed;
CREATE TEMP VIEW history AS SELECT $first_number + i AS number, i, changed_at, stage, amount, close_date FROM opportunities;
CREATE TEMP VIEW tasks AS
SELECT CASE WHEN is_changed THEN i * 8 + 7 ELSE $first_number + i END AS number, i, account, owner, false AS is_planned, hash(i, $day, 41) AS h,
  t.moment - INTERVAL 20 MINUTE AS moment,
  CASE WHEN is_changed THEN created_at + (7 * step_seconds * 5 // 9 + 1800) * INTERVAL 1 SECOND ELSE t.moment - INTERVAL 20 MINUTE END AS logged
FROM touched AS t WHERE NOT is_new;
CREATE TEMP VIEW events AS
SELECT $first_number + i AS number, i, account, owner, hash(i, $day, 51) AS h, date_trunc('hour', moment) AS moment FROM touched WHERE hash(hash(i, $day, 69)) % 5 = 0;
CREATE TEMP VIEW accounts AS
SELECT i, 5 + hash(i, 22, $day) % 5000 AS employees, strftime(DATE '2026-06-30' + $day, '%Y-%m-%d 07:00:00') AS modified
FROM range($accounts) AS r(i) WHERE hash(hash(i, $seed, 66, $day)) % {ACCOUNT_SHARE} = 0;
"""
"""The same relations for one day. A change completes the task that was planned for the opportunity: a new version of an old record."""


def _id(prefix: str, number: str, check: str = "IAA") -> str:
    """A Salesforce id of 18 characters, of mixed case as ids are; `check` fits the prefix, whose letters alone decide it."""
    return f"printf('{prefix}%010d{check}', {number})"


def _time(value: str) -> str:
    return f"strftime({value}, '%Y-%m-%d %H:%M:%S')"


_STAGE = f"[{', '.join(repr(name) for name in _STAGES)}][stage]"
_PROBABILITY = "[10, 25, 50, 75, 100, 0][stage]::VARCHAR"

_TABLES = {
    "OpportunityStage": f"""
SELECT {_id("01JDx", "stage", "MAA")} AS "Id", {_STAGE} AS "MasterLabel", {_STAGE} AS "ApiName", '1' AS "IsActive", stage::VARCHAR AS "SortOrder",
  (stage >= 5)::INT::VARCHAR AS "IsClosed", (stage = 5)::INT::VARCHAR AS "IsWon", {_PROBABILITY} AS "DefaultProbability"
FROM range(1, 7) AS r(stage)""",
    "User": f"""
SELECT {_id("005Dx", "i")} AS "Id", printf('Seller %06d', i) AS "Name", ['Americas', 'EMEA', 'APAC', 'Inside'][1 + i % 4] AS "Department", 'Standard' AS "UserType",
  'GMT' AS "TimeZoneSidKey", '1' AS "IsActive", '2023-01-02 00:00:00' AS "CreatedDate", '2023-01-02 00:00:00' AS "LastModifiedDate", '2023-01-02 00:00:00' AS "SystemModstamp"
FROM range($owners) AS r(i)""",
    "Account": f"""
SELECT {_id("001Dx", "i")} AS "Id", '0' AS "IsDeleted", printf('Account, %08d', i) AS "Name", ['Customer', 'Prospect', 'Partner'][1 + i % 3] AS "Type",
  ['Retail', 'Technology', 'Manufacturing', 'Healthcare', 'Energy', 'Finance'][1 + (hash(i, 21) % 6)::INT] AS "Industry", employees::VARCHAR AS "NumberOfEmployees",
  (100000 + hash(i, 23) % 90000000)::VARCHAR || '.00' AS "AnnualRevenue", ['Germany', 'United States', 'France', 'Brazil'][1 + (hash(i, 24) % 4)::INT] AS "BillingCountry",
  {_id("005Dx", "i % $owners")} AS "OwnerId", '2023-05-02 09:00:00' AS "CreatedDate", modified AS "LastModifiedDate", modified AS "SystemModstamp"
FROM accounts""",
    "Opportunity": f"""
SELECT {_id("006Dx", "i")} AS "Id", '0' AS "IsDeleted", {_id("001Dx", "account")} AS "AccountId", printf('Opportunity "%09d"', i) AS "Name",
  CASE WHEN h % 2 = 0 THEN 'Asked for a quote, wants a visit – größer als zuvor' ELSE '' END AS "Description", {_STAGE} AS "StageName", amount::VARCHAR || '.00' AS "Amount",
  {_PROBABILITY} AS "Probability", close_date::VARCHAR AS "CloseDate", ['New Business', 'Renewal', 'Upgrade'][1 + (h % 3)::INT] AS "Type",
  ['Web', 'Phone Inquiry', 'Partner Referral', 'Trade Show', ''][1 + (hash(i, 31) % 5)::INT] AS "LeadSource", is_closed::INT::VARCHAR AS "IsClosed", (stage = 5)::INT::VARCHAR AS "IsWon",
  {_id("005Dx", "owner")} AS "OwnerId", {_time("created_at")} AS "CreatedDate", {_time("changed_at")} AS "SystemModstamp",
  ['None', 'Competitor A', 'Competitor B'][1 + (hash(i, 32) % 3)::INT] AS "Competitor__c", (hash(i, 33) % 2)::VARCHAR AS "Budget_Confirmed__c",
  ['Americas', 'EMEA', 'APAC'][1 + (hash(i, 34) % 3)::INT] AS "Region__c", CASE WHEN hash(i, 35) % 3 = 0 THEN (hash(i, 36) % 500)::VARCHAR ELSE '' END AS "Seats__c",
  CASE WHEN hash(i, 37) % 2 = 0 THEN (created_at::DATE + 10)::VARCHAR ELSE '' END AS "Demo_Date__c", printf('EXT-%09d', i) AS "External_Ref__c"
FROM opportunities ORDER BY i""",
    "OpportunityHistory": f"""
SELECT {_id("008Dx", "number")} AS "Id", '0' AS "IsDeleted", {_id("006Dx", "i")} AS "OpportunityId", {_id("005Dx", "i % $owners")} AS "CreatedById", {_time("changed_at")} AS "CreatedDate",
  {_STAGE} AS "StageName", amount::VARCHAR || '.00' AS "Amount", (amount // 4)::VARCHAR || '.00' AS "ExpectedRevenue", close_date::VARCHAR AS "CloseDate", {_PROBABILITY} AS "Probability",
  {_time("changed_at")} AS "SystemModstamp"
FROM history""",
    "Task": f"""
SELECT {_id("00TDx", "number", "MAA")} AS "Id", '0' AS "IsDeleted", {_id("003Dx", "account * 3 + (h % 3)::BIGINT")} AS "WhoId", {_id("006Dx", "i")} AS "WhatId",
  {_id("001Dx", "account")} AS "AccountId", ['Call', 'Email: inbound', 'Email: outbound', 'Send proposal, then call'][1 + (h % 4)::INT] AS "Subject",
  ['Call', 'Email', 'Email', 'Task'][1 + (h % 4)::INT] AS "TaskSubtype", CASE WHEN h % 4 = 0 THEN 'Outbound' ELSE '' END AS "CallType",
  CASE WHEN is_planned THEN 'Not Started' ELSE 'Completed' END AS "Status", (NOT is_planned)::INT::VARCHAR AS "IsClosed", {_id("005Dx", "owner")} AS "OwnerId",
  CASE WHEN is_planned THEN (DATE '2026-07-01' + (h % 20)::INT)::VARCHAR ELSE moment::DATE::VARCHAR END AS "ActivityDate", CASE WHEN is_planned THEN '' ELSE {_time("moment")} END AS "CompletedDateTime",
  {_time("logged")} AS "CreatedDate", {_time("moment")} AS "SystemModstamp"
FROM tasks""",
    "Event": f"""
SELECT {_id("00UDx", "number", "MAA")} AS "Id", '0' AS "IsDeleted", {_id("003Dx", "account * 3 + (h % 3)::BIGINT")} AS "WhoId", {_id("006Dx", "i")} AS "WhatId",
  {_id("001Dx", "account")} AS "AccountId", 'Meeting' AS "Subject", {_id("005Dx", "owner")} AS "OwnerId", moment::DATE::VARCHAR AS "ActivityDate", {_time("moment")} AS "ActivityDateTime",
  {_time("moment")} AS "StartDateTime", {_time("moment + INTERVAL 1 HOUR")} AS "EndDateTime", {_time("moment - INTERVAL 1 DAY")} AS "CreatedDate",
  {_time("moment")} AS "SystemModstamp"
FROM events""",
}  # fmt: skip


_OF_A_DAY = ("Account", "Opportunity", "OpportunityHistory", "Task", "Event")
"""Owners and the list of stages do not change."""


def write_export(folder: Path, opportunities: int, *, seed: int = 7, kind: Kind = "csv", day: int = 0, memory: str = "4GB") -> None:  # fmt: skip
    """Write the files of one export into `folder`, rows in the same order in CSV and Parquet.

    Day 0 is everything up to 2026-06-30; a later one is what happened on that many days after it, given all the days before: some
    0.5 % of the opportunities change, 0.1 % are new, a tenth of the open ones have activities, 0.1 % of the accounts change.
    """
    if not 0 <= day < CHANGE_DAYS:
        raise ValueError(f"day {day} is not one of 0 to {CHANGE_DAYS - 1}")
    folder.mkdir(parents=True, exist_ok=True)
    spill = folder.parent / ".spill"
    parameters = {
        "count": opportunities, "accounts": max(opportunities // 5, 1), "owners": max(opportunities // 500, 1), "seed": seed, "day": day,
        "new": max(opportunities // NEW_SHARE, 1), "first_number": 5_000_000_000 + day * 100_000_000,
    }  # fmt: skip
    form = "FORMAT csv, HEADER, FORCE_QUOTE *" if kind == "csv" else "FORMAT parquet, COMPRESSION zstd"
    with duckdb.connect(config={"threads": 2, "memory_limit": memory, "temp_directory": str(spill)}) as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(_bound(_DAY if day else _BASE, parameters))
        for name in _OF_A_DAY if day else _TABLES:
            target = folder / f"{name}.{kind}"
            connection.execute(f"COPY ({_bound(_TABLES[name], parameters)}) TO '{target}' ({form})")


def _bound(query: str, parameters: dict[str, int]) -> str:
    for name, value in parameters.items():
        query = query.replace(f"${name}", str(value))
    return query


if __name__ == "__main__":
    target, rows, *form = sys.argv[1:]
    write_export(
        Path(target), int(rows), kind=cast(Kind, form[0] if form else "csv"), day=int(form[1]) if form[1:] else 0
    )
