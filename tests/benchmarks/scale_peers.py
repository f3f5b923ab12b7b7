"""Peers on the same files: the same steps as one would write them by hand in pandas, Polars or featuretools, without this project.

The steps: read the columns needed as text, parse them, keep the latest record of each id, build the landmarks (deals open on every 28th day before the
end), join the state of each then, count activities in windows, take win rates of owners and accounts so far, write Parquet. Nineteen features and a
grid of fixed days; ours has three times as many features and eight days more. No odd notation is read, no record is accounted for, nothing is checked.
Needs nothing but the peer, which may live in an environment of its own:

featuretools (`pip install featuretools 'pandas<3' pyarrow`) takes the same landmarks and makes the features by deep feature synthesis with cutoff times, one synthesis
for each window, as it takes a single training window at a time. It does more: some eighty features, as every primitive meets every column it fits, those of an
account's and an owner's other deals among them. It does less: no rates shrunken to a mean, no ties broken by id, and the landmarks have to be given to it.

    BENCH_FOLDER=folder python tests/benchmarks/scale_peers.py pandas|polars|featuretools

Belongs here: peers of the way from files to features. Does not belong here: peers of the models (`peers`).
"""

from __future__ import annotations

import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

END = datetime(2026, 7, 1)
AS_OFS = [END - timedelta(days=28 * k) for k in range(1, 30)]
CLOSED = ["Closed Won", "Closed Lost"]
COLUMNS = {
    "Account": ["Id", "Industry", "NumberOfEmployees", "AnnualRevenue", "BillingCountry", "SystemModstamp"],
    "Opportunity": ["Id", "AccountId", "OwnerId", "StageName", "Amount", "CloseDate", "Type", "LeadSource", "CreatedDate", "SystemModstamp"],
    "OpportunityHistory": ["Id", "OpportunityId", "CreatedDate", "StageName", "Amount", "CloseDate", "SystemModstamp"],
    "Task": ["Id", "WhatId", "TaskSubtype", "Subject", "IsClosed", "CompletedDateTime", "SystemModstamp"],
    "Event": ["Id", "WhatId", "StartDateTime", "SystemModstamp"],
}  # fmt: skip
TIMES = {"CreatedDate", "SystemModstamp", "CompletedDateTime", "StartDateTime"}
NUMBERS = {"NumberOfEmployees", "AnnualRevenue", "Amount"}
WINDOWS = (7, 30, 90)


def pandas(folder: Path) -> int:
    """As one would write it: parse, then a loop over the days of the grid. Returns the rows written."""
    import pandas as pd

    def read(name: str) -> pd.DataFrame:
        frame = pd.read_csv(folder / "csv" / f"{name}.csv", usecols=COLUMNS[name], dtype=str)
        for column in frame.columns:
            if column in TIMES or column == "CloseDate":
                form = "%Y-%m-%d" if column == "CloseDate" else "%Y-%m-%d %H:%M:%S"
                frame[column] = pd.to_datetime(frame[column], format=form, errors="coerce")
            elif column in NUMBERS:
                frame[column] = pd.to_numeric(frame[column], errors="coerce")
        return frame.sort_values("SystemModstamp", kind="stable").drop_duplicates("Id", keep="last")

    accounts, deals, history, tasks, events = (read(name) for name in COLUMNS)
    tasks = tasks[tasks["IsClosed"] == "1"]
    done = pd.concat(
        [
            pd.DataFrame({"deal": tasks["WhatId"], "at": tasks["CompletedDateTime"], "kind": tasks["TaskSubtype"].str.lower(), "inbound": tasks["Subject"].str.contains("inbound")}),
            pd.DataFrame({"deal": events["WhatId"], "at": events["StartDateTime"], "kind": "meeting", "inbound": False}),
        ]
    )  # fmt: skip
    history = history.sort_values(["OpportunityId", "CreatedDate", "Id"])
    deals = deals.merge(
        accounts[["Id", "Industry", "NumberOfEmployees", "AnnualRevenue", "BillingCountry"]],
        left_on="AccountId", right_on="Id", how="left", suffixes=("", "_account"),
    )  # fmt: skip
    pieces = []
    for as_of in AS_OFS:
        past = history[history["CreatedDate"] < as_of]
        last = past.groupby("OpportunityId").agg(
            stage=("StageName", "last"), amount=("Amount", "last"), close=("CloseDate", "last"), changed=("CreatedDate", "last"), changes=("Id", "size")
        )  # fmt: skip
        rows = deals.merge(last, left_on="Id", right_index=True)
        rows["is_closed"] = rows["stage"].isin(CLOSED)
        rows["is_won"] = rows["stage"] == CLOSED[0]
        closed = rows[rows["is_closed"]]
        rows = rows[~rows["is_closed"]].assign(as_of=as_of)
        for key in ("OwnerId", "AccountId"):
            rows = rows.merge(closed.groupby(key)["is_won"].mean().rename(f"{key}_win_rate"), on=key, how="left")
        before = done[done["at"] < as_of]
        parts = {"activities": before.groupby("deal").size(), "last_activity": before.groupby("deal")["at"].max()}
        for days in WINDOWS:
            recent = before[before["at"] >= as_of - pd.Timedelta(days=days)]
            parts[f"activities_{days}d"] = recent.groupby("deal").size()
            if days > 7:
                for kind in ("call", "email", "meeting"):
                    parts[f"{kind}_{days}d"] = recent[recent["kind"] == kind].groupby("deal").size()
            parts[f"inbound_{days}d"] = recent[recent["inbound"]].groupby("deal").size()
        rows = rows.merge(pd.DataFrame(parts), left_on="Id", right_index=True, how="left")
        rows["age_days"] = (as_of - rows["CreatedDate"]).dt.days
        rows["days_since_change"] = (as_of - rows["changed"]).dt.days
        rows["days_to_close"] = (rows["close"] - as_of).dt.days
        rows["days_since_activity"] = (as_of - rows["last_activity"]).dt.days
        pieces.append(rows)
    result = pd.concat(pieces).sort_values(["Id", "as_of"])
    result.to_parquet(folder / "pandas.parquet", compression="zstd")
    return len(result)


def polars(folder: Path) -> int:
    """Hand-written lazy Polars: joins of the spine with the events, one aggregation each, the streaming engine. Returns the rows written."""
    import polars as pl

    def read(name: str) -> pl.LazyFrame:
        frame = pl.scan_csv(folder / "csv" / f"{name}.csv", infer_schema=False).select(COLUMNS[name])
        parsed = [pl.col(c).str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False) for c in COLUMNS[name] if c in TIMES]
        parsed += [pl.col(c).cast(pl.Float64, strict=False) for c in COLUMNS[name] if c in NUMBERS]
        parsed += [pl.col(c).str.to_date("%Y-%m-%d", strict=False) for c in COLUMNS[name] if c == "CloseDate"]
        return frame.with_columns(parsed).sort("SystemModstamp").unique("Id", keep="last")

    accounts, deals, history, tasks, events = (read(name) for name in COLUMNS)
    done = pl.concat(
        [
            tasks.filter(pl.col("IsClosed") == "1").select(
                deal="WhatId", at="CompletedDateTime", kind=pl.col("TaskSubtype").str.to_lowercase(), inbound=pl.col("Subject").str.contains("inbound", literal=True)
            ),
            events.select(deal="WhatId", at="StartDateTime", kind=pl.lit("meeting"), inbound=pl.lit(False)),
        ]
    )  # fmt: skip
    days = pl.LazyFrame({"as_of": AS_OFS}).with_columns(pl.col("as_of").cast(pl.Datetime("us")))
    created = (
        deals.select("Id", "CreatedDate")
        .join(days, how="cross")
        .filter(pl.col("CreatedDate") < pl.col("as_of"))
        .select("Id", "as_of")
    )
    last = pl.col("CreatedDate", "StageName", "Amount", "CloseDate").sort_by("CreatedDate", "Id_change").last()
    states = (
        created.join(history.rename({"Id": "Id_change", "OpportunityId": "Id"}), on="Id")
        .filter(pl.col("CreatedDate") < pl.col("as_of"))
        .group_by("Id", "as_of")
        .agg(last, changes=pl.len())
        .rename({"CreatedDate": "changed", "StageName": "stage", "Amount": "amount", "CloseDate": "close"})
    )
    rows = deals.join(accounts.drop("SystemModstamp"), left_on="AccountId", right_on="Id", how="left").join(
        states, on="Id"
    )
    table = rows.collect(engine="streaming")
    closed = table.filter(pl.col("stage").is_in(CLOSED))
    spine = table.filter(~pl.col("stage").is_in(CLOSED))
    for key in ("OwnerId", "AccountId"):
        rate = closed.group_by(key, "as_of").agg((pl.col("stage") == CLOSED[0]).mean().alias(f"{key}_win_rate"))
        spine = spine.join(rate, on=[key, "as_of"], how="left")
    aggregates = [pl.len().alias("activities"), pl.col("at").max().alias("last_activity")]
    for window in WINDOWS:
        recent = pl.col("at") >= pl.col("as_of") - timedelta(days=window)
        aggregates.append(recent.sum().alias(f"activities_{window}d"))
        if window > 7:
            aggregates += [
                (recent & (pl.col("kind") == kind)).sum().alias(f"{kind}_{window}d")
                for kind in ("call", "email", "meeting")
            ]
        aggregates.append((recent & pl.col("inbound")).sum().alias(f"inbound_{window}d"))
    counted = (
        spine.lazy().select("Id", "as_of").join(done, left_on="Id", right_on="deal").filter(pl.col("at") < pl.col("as_of")).group_by("Id", "as_of").agg(aggregates)
    )  # fmt: skip
    result = spine.lazy().join(counted, on=["Id", "as_of"], how="left").with_columns(
        age_days=(pl.col("as_of") - pl.col("CreatedDate")).dt.total_days(), days_since_change=(pl.col("as_of") - pl.col("changed")).dt.total_days(),
        days_to_close=(pl.col("close").cast(pl.Datetime("us")) - pl.col("as_of")).dt.total_days(), days_since_activity=(pl.col("as_of") - pl.col("last_activity")).dt.total_days(),
    ).sort("Id", "as_of").collect(engine="streaming")  # fmt: skip
    result.write_parquet(folder / "polars.parquet", compression="zstd")
    return len(result)


def featuretools(folder: Path) -> int:
    """Landmarks by pandas, features by deep feature synthesis as of each of them. Returns the rows written."""
    import featuretools as ft
    import pandas as pd

    def read(name: str) -> pd.DataFrame:
        frame = pd.read_csv(folder / "csv" / f"{name}.csv", usecols=COLUMNS[name], dtype=str)
        for column in frame.columns:
            if column in TIMES or column == "CloseDate":
                frame[column] = pd.to_datetime(frame[column], errors="coerce").astype("datetime64[ns]")
            elif column in NUMBERS:
                frame[column] = pd.to_numeric(frame[column], errors="coerce")
        return (
            frame.sort_values("SystemModstamp", kind="stable")
            .drop_duplicates("Id", keep="last")
            .drop(columns="SystemModstamp")
        )

    accounts, deals, history, tasks, events = (read(name) for name in COLUMNS)
    tasks = tasks[tasks["IsClosed"] == "1"]
    activities = pd.concat(
        [
            pd.DataFrame({"Id": tasks["Id"], "deal": tasks["WhatId"], "at": tasks["CompletedDateTime"], "kind": tasks["TaskSubtype"].str.lower(), "is_inbound": tasks["Subject"].str.contains("inbound")}),
            pd.DataFrame({"Id": events["Id"], "deal": events["WhatId"], "at": events["StartDateTime"], "kind": "meeting", "is_inbound": False}),
        ]
    )  # fmt: skip
    closings = history[history["StageName"].isin(CLOSED)].groupby("OpportunityId")["CreatedDate"].max()
    closed_at = deals["Id"].map(closings)
    spine = pd.concat(
        [
            deals.loc[(deals["CreatedDate"] < as_of) & ~(closed_at < as_of), ["Id"]].assign(time=pd.Timestamp(as_of))
            for as_of in AS_OFS
        ]
    )
    won = (deals["StageName"] == CLOSED[0]).astype("boolean").where(deals["StageName"].isin(CLOSED))
    known = deals[["Id", "AccountId", "OwnerId", "Type", "LeadSource", "CreatedDate"]].assign(
        is_won=won, closed_at=closed_at
    )
    types = {
        "AccountId": "Categorical",
        "OwnerId": "Categorical",
        "Type": "Categorical",
        "LeadSource": "Categorical",
        "is_won": "BooleanNullable",
        "closed_at": "Datetime",
    }
    es = ft.EntitySet("crm")
    es.add_dataframe(
        accounts, "accounts", index="Id", logical_types={"Industry": "Categorical", "BillingCountry": "Categorical"}
    )
    es.add_dataframe(pd.DataFrame({"Id": known["OwnerId"].unique()}), "owners", index="Id")
    es.add_dataframe(
        known,
        "deals",
        index="Id",
        time_index="CreatedDate",
        secondary_time_index={"closed_at": ["is_won"]},
        logical_types=types,
    )
    es.add_dataframe(
        history,
        "states",
        index="Id",
        time_index="CreatedDate",
        logical_types={"StageName": "Categorical", "OpportunityId": "Categorical"},
    )
    es.add_dataframe(
        activities,
        "activities",
        index="Id",
        time_index="at",
        logical_types={"kind": "Categorical", "deal": "Categorical", "is_inbound": "Boolean"},
    )
    for parent, child, column in (
        ("accounts", "deals", "AccountId"),
        ("owners", "deals", "OwnerId"),
        ("deals", "states", "OpportunityId"),
        ("deals", "activities", "deal"),
    ):
        es.add_relationship(parent, "Id", child, column)
    es.add_interesting_values(dataframe_name="activities", values={"kind": ["call", "email", "meeting"]})
    whole, _ = ft.dfs(
        entityset=es, target_dataframe_name="deals", cutoff_time=spine, include_cutoff_time=False, cutoff_time_in_index=True, max_depth=2,
        agg_primitives=["count", "last", "percent_true", "time_since_last"], trans_primitives=["time_since"], where_primitives=["count"], n_jobs=1,
    )  # fmt: skip
    tables = [whole]
    for days in WINDOWS:
        table, _ = ft.dfs(
            entityset=es, target_dataframe_name="deals", cutoff_time=spine, include_cutoff_time=False, cutoff_time_in_index=True, max_depth=1, training_window=f"{days} days",
            agg_primitives=["count", "num_true"], trans_primitives=[], where_primitives=["count"], ignore_dataframes=["states"], n_jobs=1,
        )  # fmt: skip
        tables.append(table.filter(like="activities").add_suffix(f" in {days} days"))
    result = pd.concat(tables, axis=1)
    result.columns = [str(name) for name in result.columns]
    result.reset_index().to_parquet(folder / "featuretools.parquet", compression="zstd")
    return len(result)


PEERS = {"pandas": pandas, "polars": polars, "featuretools": featuretools}


if __name__ == "__main__":
    print(PEERS[sys.argv[1]](Path(os.environ["BENCH_FOLDER"])))
