-- One row per account with cases known before the as-of. A survey's answer is known from the closing of its case on, where that is recorded.
SELECT
  account_id,
  COUNT(CASE WHEN closed_at IS NULL OR closed_at >= $as_of THEN CASE WHEN score IS NULL OR closed_at IS NOT NULL THEN 1 END END) AS open_case_count,
  MIN(CASE WHEN closed_at IS NULL OR closed_at >= $as_of THEN CASE WHEN score IS NULL OR closed_at IS NOT NULL THEN opened_at END END) AS oldest_open_at,
  COUNT(CASE WHEN COALESCE(closed_at, opened_at) >= $answered_from AND COALESCE(closed_at, opened_at) < $as_of THEN score END) AS survey_count,
  SUM(CASE WHEN COALESCE(closed_at, opened_at) >= $answered_from AND COALESCE(closed_at, opened_at) < $as_of THEN score END) AS score_sum
FROM cases
WHERE account_id IS NOT NULL AND opened_at < $as_of
GROUP BY account_id
