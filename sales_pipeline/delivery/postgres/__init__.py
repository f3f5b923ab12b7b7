"""Whole published runs in PostgreSQL: immutable typed tables per run, stable views over the run that is shown.

    schema runs        one table per run and published table, a partition of the table that holds that shape (columns and types) of all runs;
                       `ledger` (one row per run), `current_run` (the one shown)
    schema published   a view per published table, and `run_ledger`

**Why the views read a pointer and are not replaced by every publication.** PostgreSQL reads the definition of a view as it is now, but rows as
of the reader's snapshot. If each publication replaced the views, a REPEATABLE READ transaction that began before it and opens a view after it
would read the new run's table, whose rows it cannot see: an empty view beside full ones. Replacing also waits for every reader, and
every reader for it. So a view reads which run is shown from a row, under the same snapshot as the rows of the
run. A publication adds a partition and moves the pointer, and waits for no reader. A view is replaced only when the columns of its table change.

What a snapshot shows may be out of reach all the same: the run's tables were dropped since, its columns changed since, or the query was
planned just before a publication and run just after. Then the view raises SQLSTATE 40001 (begin again); it never shows a mixture or an empty table instead.

Belongs here: PostgreSQL. Does not belong here: what a run contains (`delivery.publish`), the Channel protocol (`delivery.channels`).
"""
