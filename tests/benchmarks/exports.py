"""Realistic exports of any size: a Salesforce data export of accounts, opportunities, five changes and ten activities each.

Everything follows from a row's number by `hash`, inside DuckDB: no random state, no loop per row, so the same size and seed give the same rows.
The files are clean (no broken record, no odd notation): what hostile files cost is another question than how cost grows with size.
    python -m tests.benchmarks.exports FOLDER OPPORTUNITIES [csv|parquet]

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

_BASE = """
CREATE TEMP TABLE deals AS
WITH drawn AS (
  SELECT i, hash(i, $seed) AS h, (hash(i, $seed, 1) % 800)::INT AS days_ago, 20 + (hash(i, $seed, 2) % 160)::INT AS life_days,
    (hash(i, $seed, 3) % 36000)::INT AS second, (hash(i, $seed, 4) % $accounts)::BIGINT AS account, (hash(i, $seed, 5) % $owners)::BIGINT AS owner,
    hash(i, $seed, 6) % 100 < 35 AS would_win, 1000 + (hash(i, $seed, 7) % 900)::INT * 100 AS amount
  FROM range(1, $count + 1) AS r(i)
)
SELECT d.*, TIMESTAMP '2026-06-29 08:00:00' - days_ago * INTERVAL 1 DAY + second * INTERVAL 1 SECOND AS created_at, days_ago > life_days AS is_closed,
  least(life_days, greatest(days_ago, 1)) * 86400 // 5 AS step_seconds
FROM drawn AS d;
CREATE TEMP TABLE states AS
SELECT d.i, k, created_at + (k * step_seconds) * INTERVAL 1 SECOND AS changed_at,
  CASE WHEN k = 4 AND is_closed THEN CASE WHEN would_win THEN 5 ELSE 6 END ELSE least(k + 1, 4) END AS stage,
  amount + CASE WHEN k >= 2 THEN (h % 50)::INT * 100 ELSE 0 END AS amount,
  (created_at::DATE + life_days + CASE WHEN k >= 3 THEN (h % 30)::INT ELSE 0 END)::DATE AS close_date
FROM deals AS d, range(5) AS c(k);
CREATE TEMP TABLE last_states AS SELECT * FROM states WHERE k = 4;
"""


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
  ['Retail', 'Technology', 'Manufacturing', 'Healthcare', 'Energy', 'Finance'][1 + (hash(i, 21) % 6)::INT] AS "Industry", (5 + hash(i, 22) % 5000)::VARCHAR AS "NumberOfEmployees",
  (100000 + hash(i, 23) % 90000000)::VARCHAR || '.00' AS "AnnualRevenue", ['Germany', 'United States', 'France', 'Brazil'][1 + (hash(i, 24) % 4)::INT] AS "BillingCountry",
  {_id("005Dx", "i % $owners")} AS "OwnerId", '2023-05-02 09:00:00' AS "CreatedDate", '2024-01-03 11:06:40' AS "LastModifiedDate", '2024-01-03 11:06:40' AS "SystemModstamp"
FROM range($accounts) AS r(i)""",
    "Opportunity": f"""
SELECT {_id("006Dx", "d.i")} AS "Id", '0' AS "IsDeleted", {_id("001Dx", "account")} AS "AccountId", printf('Opportunity "%09d"', d.i) AS "Name",
  CASE WHEN h % 2 = 0 THEN 'Asked for a quote, wants a visit – größer als zuvor' ELSE '' END AS "Description", {_STAGE} AS "StageName", s.amount::VARCHAR || '.00' AS "Amount",
  {_PROBABILITY} AS "Probability", s.close_date::VARCHAR AS "CloseDate", ['New Business', 'Renewal', 'Upgrade'][1 + (h % 3)::INT] AS "Type",
  ['Web', 'Phone Inquiry', 'Partner Referral', 'Trade Show', ''][1 + (hash(d.i, 31) % 5)::INT] AS "LeadSource", is_closed::INT::VARCHAR AS "IsClosed", (stage = 5)::INT::VARCHAR AS "IsWon",
  {_id("005Dx", "owner")} AS "OwnerId", {_time("created_at")} AS "CreatedDate", {_time("s.changed_at")} AS "SystemModstamp",
  ['None', 'Competitor A', 'Competitor B'][1 + (hash(d.i, 32) % 3)::INT] AS "Competitor__c", (hash(d.i, 33) % 2)::VARCHAR AS "Budget_Confirmed__c",
  ['Americas', 'EMEA', 'APAC'][1 + (hash(d.i, 34) % 3)::INT] AS "Region__c", CASE WHEN hash(d.i, 35) % 3 = 0 THEN (hash(d.i, 36) % 500)::VARCHAR ELSE '' END AS "Seats__c",
  CASE WHEN hash(d.i, 37) % 2 = 0 THEN (created_at::DATE + 10)::VARCHAR ELSE '' END AS "Demo_Date__c", printf('EXT-%09d', d.i) AS "External_Ref__c"
FROM deals AS d JOIN last_states AS s USING (i) ORDER BY d.i""",
    "OpportunityHistory": f"""
SELECT {_id("008Dx", "i * 5 + k")} AS "Id", '0' AS "IsDeleted", {_id("006Dx", "i")} AS "OpportunityId", {_id("005Dx", "i % $owners")} AS "CreatedById", {_time("changed_at")} AS "CreatedDate",
  {_STAGE} AS "StageName", amount::VARCHAR || '.00' AS "Amount", (amount // 4)::VARCHAR || '.00' AS "ExpectedRevenue", close_date::VARCHAR AS "CloseDate", {_PROBABILITY} AS "Probability",
  {_time("changed_at")} AS "SystemModstamp"
FROM states""",
    "Task": f"""
WITH tasks AS (
  SELECT i, k, account, owner, NOT is_closed AND k = 7 AS is_planned, hash(i, k, 41) AS h, created_at + (k * step_seconds * 5 // 9 + 1800) * INTERVAL 1 SECOND AS moment
  FROM deals AS d, range(8) AS c(k)
)
SELECT {_id("00TDx", "i * 8 + k", "MAA")} AS "Id", '0' AS "IsDeleted", {_id("003Dx", "account * 3 + (h % 3)::BIGINT")} AS "WhoId", {_id("006Dx", "i")} AS "WhatId",
  {_id("001Dx", "account")} AS "AccountId", ['Call', 'Email: inbound', 'Email: outbound', 'Send proposal, then call'][1 + (h % 4)::INT] AS "Subject",
  ['Call', 'Email', 'Email', 'Task'][1 + (h % 4)::INT] AS "TaskSubtype", CASE WHEN h % 4 = 0 THEN 'Outbound' ELSE '' END AS "CallType",
  CASE WHEN is_planned THEN 'Not Started' ELSE 'Completed' END AS "Status", (NOT is_planned)::INT::VARCHAR AS "IsClosed", {_id("005Dx", "owner")} AS "OwnerId",
  CASE WHEN is_planned THEN (DATE '2026-07-01' + (h % 20)::INT)::VARCHAR ELSE moment::DATE::VARCHAR END AS "ActivityDate", CASE WHEN is_planned THEN '' ELSE {_time("moment")} END AS "CompletedDateTime",
  {_time("moment")} AS "CreatedDate", {_time("moment")} AS "SystemModstamp"
FROM tasks""",
    "Event": f"""
WITH events AS (
  SELECT i, k, account, owner, hash(i, k, 51) AS h, date_trunc('hour', created_at + ((k + 1) * step_seconds + 7200) * INTERVAL 1 SECOND) AS moment FROM deals AS d, range(2) AS c(k)
)
SELECT {_id("00UDx", "i * 2 + k", "MAA")} AS "Id", '0' AS "IsDeleted", {_id("003Dx", "account * 3 + (h % 3)::BIGINT")} AS "WhoId", {_id("006Dx", "i")} AS "WhatId",
  {_id("001Dx", "account")} AS "AccountId", 'Meeting' AS "Subject", {_id("005Dx", "owner")} AS "OwnerId", moment::DATE::VARCHAR AS "ActivityDate", {_time("moment")} AS "ActivityDateTime",
  {_time("moment")} AS "StartDateTime", {_time("moment + INTERVAL 1 HOUR")} AS "EndDateTime", {_time("moment - INTERVAL 1 DAY")} AS "CreatedDate",
  {_time("moment")} AS "SystemModstamp"
FROM events""",
}  # fmt: skip


def write_export(folder: Path, opportunities: int, *, seed: int = 7, kind: Kind = "csv", memory: str = "4GB") -> None:
    """Write the files of one export into `folder`, rows in the same order in CSV and Parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    spill = folder.parent / "spill"
    parameters = {"count": opportunities, "accounts": max(opportunities // 5, 1), "owners": max(opportunities // 500, 1), "seed": seed}  # fmt: skip
    form = "FORMAT csv, HEADER, FORCE_QUOTE *" if kind == "csv" else "FORMAT parquet, COMPRESSION zstd"
    with duckdb.connect(config={"threads": 2, "memory_limit": memory, "temp_directory": str(spill)}) as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(_bound(_BASE, parameters))
        for name, query in _TABLES.items():
            connection.execute(f"COPY ({_bound(query, parameters)}) TO '{folder / name}.{kind}' ({form})")


def _bound(query: str, parameters: dict[str, int]) -> str:
    for name, value in parameters.items():
        query = query.replace(f"${name}", str(value))
    return query


if __name__ == "__main__":
    target, rows, *form = sys.argv[1:]
    write_export(Path(target), int(rows), kind=cast(Kind, form[0] if form else "csv"))
