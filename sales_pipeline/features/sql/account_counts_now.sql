-- The rows of account_counts where the spine has one as-of, $as_of: what happened before it is added up at once, and nothing is put in order.
WITH asked AS (
  SELECT DISTINCT account_id, currency FROM spine WHERE account_id IS NOT NULL
), known AS (
  SELECT
    account_id,
    currency,
    SUM(CASE WHEN is_won AND (reopened_at IS NULL OR reopened_at >= $as_of) THEN 1 ELSE 0 END) AS won_count,
    SUM(CASE WHEN reopened_at IS NULL OR reopened_at >= $as_of THEN 1 ELSE 0 END) AS closed_count,
    SUM(CASE WHEN is_won AND (reopened_at IS NULL OR reopened_at >= $as_of) THEN CAST(COALESCE(amount, 0) * 100 AS BIGINT) ELSE 0 END) AS won_cents,
    MAX(CASE WHEN is_won THEN closed_at END) AS last_won_at
  FROM closings
  WHERE closed_at < $as_of AND account_id IN (SELECT account_id FROM asked)
  GROUP BY account_id, currency
), closed AS (
  SELECT account_id, SUM(won_count) AS won_count, SUM(closed_count) AS closed_count, MAX(last_won_at) AS last_won_at
  FROM known
  GROUP BY account_id
), opened AS (
  SELECT account_id, COUNT(*) AS open_count
  FROM open_spans
  WHERE account_id IS NOT NULL AND started_at < $as_of AND (ended_at IS NULL OR ended_at >= $as_of)
  GROUP BY account_id
)
SELECT
  a.account_id,
  a.currency,
  $as_of AS as_of,
  CAST(COALESCE(c.won_count, 0) AS BIGINT) AS won_count,
  CAST(COALESCE(c.closed_count, 0) AS BIGINT) AS closed_count,
  CAST(COALESCE(o.open_count, 0) AS BIGINT) AS open_count,
  CAST(COALESCE(k.won_cents, 0) AS BIGINT) AS won_cents,
  c.last_won_at
FROM asked AS a
LEFT JOIN closed AS c ON c.account_id = a.account_id
LEFT JOIN known AS k ON k.account_id = a.account_id AND k.currency = a.currency
LEFT JOIN opened AS o ON o.account_id = a.account_id
