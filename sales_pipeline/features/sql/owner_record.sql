-- Family owner_record: what the owner at the as-of had closed, and has open (this one included), strictly before it.
WITH events AS (
  SELECT owner_id, closed_at AS happened_at, 1 AS is_event, CASE WHEN is_won THEN 1 ELSE 0 END AS won, 1 AS closed, 0 AS opened
  FROM closings WHERE owner_id IS NOT NULL
  UNION ALL
  SELECT owner_id, reopened_at, 1, CASE WHEN is_won THEN -1 ELSE 0 END, -1, 0
  FROM closings WHERE owner_id IS NOT NULL AND reopened_at IS NOT NULL
  UNION ALL
  SELECT owner_id, started_at, 1, 0, 0, 1 FROM open_spans WHERE owner_id IS NOT NULL
  UNION ALL
  SELECT owner_id, ended_at, 1, 0, 0, -1 FROM open_spans WHERE owner_id IS NOT NULL AND ended_at IS NOT NULL
  UNION ALL
  SELECT DISTINCT owner_id, as_of, 0, 0, 0, 0 FROM spine WHERE owner_id IS NOT NULL
), running AS (
  SELECT
    owner_id,
    happened_at,
    is_event,
    CAST(SUM(won) OVER (PARTITION BY owner_id ORDER BY happened_at, is_event ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS won_count,
    CAST(SUM(closed) OVER (PARTITION BY owner_id ORDER BY happened_at, is_event ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS closed_count,
    CAST(SUM(opened) OVER (PARTITION BY owner_id ORDER BY happened_at, is_event ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS open_count
  FROM events
)
SELECT
  s.opportunity_id,
  s.as_of,
  shrunken(r.won_count, r.closed_count, a.win_rate, $owner_prior_weight) AS owner_win_rate,
  r.closed_count AS owner_closed_count,
  r.open_count AS owner_open_count,
  o.team AS owner_team
FROM spine AS s
LEFT JOIN running AS r ON r.owner_id = s.owner_id AND r.happened_at = s.as_of AND r.is_event = 0
LEFT JOIN overall_record AS a ON a.as_of = s.as_of
LEFT JOIN owners AS o ON o.owner_id = s.owner_id
