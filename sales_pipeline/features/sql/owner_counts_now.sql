-- The rows of owner_counts where the spine has one as-of, $as_of; added up as in account_counts_now.
WITH asked AS (
  SELECT DISTINCT owner_id FROM spine WHERE owner_id IS NOT NULL
), closed AS (
  SELECT owner_id, SUM(CASE WHEN is_won THEN 1 ELSE 0 END) AS won_count, COUNT(*) AS closed_count
  FROM closings
  WHERE owner_id IS NOT NULL AND closed_at < $as_of AND (reopened_at IS NULL OR reopened_at >= $as_of)
  GROUP BY owner_id
), opened AS (
  SELECT owner_id, COUNT(*) AS open_count
  FROM open_spans
  WHERE owner_id IS NOT NULL AND started_at < $as_of AND (ended_at IS NULL OR ended_at >= $as_of)
  GROUP BY owner_id
)
SELECT
  a.owner_id,
  $as_of AS as_of,
  CAST(COALESCE(c.won_count, 0) AS BIGINT) AS won_count,
  CAST(COALESCE(c.closed_count, 0) AS BIGINT) AS closed_count,
  CAST(COALESCE(o.open_count, 0) AS BIGINT) AS open_count
FROM asked AS a
LEFT JOIN closed AS c ON c.owner_id = a.owner_id
LEFT JOIN opened AS o ON o.owner_id = a.owner_id
