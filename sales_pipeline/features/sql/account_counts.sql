-- One row per account, currency and as-of of the spine: what was closed with the account, and is open with it, strictly before it. Won amounts are
-- added up in cents, in that currency alone. The last win stays the last win when it was reopened later. Counted by one running sum over events and
-- questions, questions first at equal instants, so that it stays linear.
WITH events AS (
  SELECT
    account_id, currency, closed_at AS happened_at, 1 AS is_event, CASE WHEN is_won THEN 1 ELSE 0 END AS won, 1 AS closed, 0 AS opened,
    CASE WHEN is_won THEN CAST(COALESCE(amount, 0) * 100 AS BIGINT) ELSE 0 END AS won_cents,
    CASE WHEN is_won THEN closed_at END AS won_at
  FROM closings WHERE account_id IS NOT NULL
  UNION ALL
  SELECT
    account_id, currency, reopened_at, 1, CASE WHEN is_won THEN -1 ELSE 0 END, -1, 0,
    CASE WHEN is_won THEN -CAST(COALESCE(amount, 0) * 100 AS BIGINT) ELSE 0 END, NULL
  FROM closings WHERE account_id IS NOT NULL AND reopened_at IS NOT NULL
  UNION ALL
  SELECT account_id, NULL, started_at, 1, 0, 0, 1, 0, NULL FROM open_spans WHERE account_id IS NOT NULL
  UNION ALL
  SELECT account_id, NULL, ended_at, 1, 0, 0, -1, 0, NULL FROM open_spans WHERE account_id IS NOT NULL AND ended_at IS NOT NULL
  UNION ALL
  SELECT account_id, currency, as_of, 0, 0, 0, 0, 0, CAST(NULL AS TIMESTAMPTZ)
  FROM (SELECT DISTINCT account_id, currency, as_of FROM spine WHERE account_id IS NOT NULL) AS asked
), running AS (
  SELECT
    account_id,
    currency,
    happened_at,
    is_event,
    CAST(SUM(won) OVER (PARTITION BY account_id ORDER BY happened_at, is_event ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS won_count,
    CAST(SUM(closed) OVER (PARTITION BY account_id ORDER BY happened_at, is_event ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS closed_count,
    CAST(SUM(opened) OVER (PARTITION BY account_id ORDER BY happened_at, is_event ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS open_count,
    CAST(SUM(won_cents) OVER (PARTITION BY account_id, currency ORDER BY happened_at, is_event ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS won_cents,
    MAX(won_at) OVER (PARTITION BY account_id ORDER BY happened_at, is_event ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS last_won_at
  FROM events
)
SELECT
  account_id,
  currency,
  happened_at AS as_of,
  won_count,
  closed_count,
  open_count,
  won_cents,
  last_won_at
FROM running
WHERE is_event = 0
