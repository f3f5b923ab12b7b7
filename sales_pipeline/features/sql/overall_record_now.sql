-- The row of overall_record where the spine has one as-of, $as_of; added up as in account_counts_now.
WITH closed AS (
  SELECT SUM(CASE WHEN is_won THEN 1 ELSE 0 END) AS won_count, COUNT(*) AS closed_count
  FROM closings
  WHERE closed_at < $as_of AND (reopened_at IS NULL OR reopened_at >= $as_of)
)
SELECT
  $as_of AS as_of,
  CAST(COALESCE(won_count, 0) AS BIGINT) AS won_count,
  CAST(closed_count AS BIGINT) AS closed_count,
  ratio(COALESCE(won_count, 0), closed_count) AS win_rate
FROM closed
