-- Family account_record: what was closed with the account, and is open with it (this one included), strictly before the as-of. Won amounts
-- are added up in cents, in the currency of the opportunity alone. The last win stays the last win when it was reopened later.
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
  SELECT DISTINCT account_id, currency, as_of, 0, 0, 0, 0, 0, CAST(NULL AS TIMESTAMPTZ) FROM spine WHERE account_id IS NOT NULL
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
  s.opportunity_id,
  s.as_of,
  shrunken(r.won_count, r.closed_count, a.win_rate, $account_prior_weight) AS account_win_rate,
  r.closed_count AS account_closed_count,
  r.won_count AS account_won_count,
  ratio(r.won_cents, 100) AS account_won_amount,
  days_between(r.last_won_at, instant_before(s.as_of)) AS account_days_since_last_won,
  r.open_count AS account_open_count
FROM spine AS s
LEFT JOIN running AS r
  ON r.account_id = s.account_id AND r.currency = s.currency AND r.happened_at = s.as_of AND r.is_event = 0
LEFT JOIN overall_record AS a ON a.as_of = s.as_of
