-- One row per opportunity: the last of what was said about it in a part of the activities, by either side.
WITH talks AS (
  SELECT opportunity_id, activity_id, occurred_at, direction
  FROM activities
  WHERE opportunity_id IS NOT NULL AND (direction IS NOT NULL OR kind IN ('call', 'email', 'meeting'))
), ends AS (
  SELECT opportunity_id, MAX(occurred_at) AS occurred_at FROM talks GROUP BY opportunity_id
)
SELECT t.opportunity_id, MAX(t.activity_id) AS activity_id, t.occurred_at, latest(t.direction, t.activity_id) AS direction
FROM talks AS t
JOIN ends AS e ON e.opportunity_id = t.opportunity_id AND e.occurred_at = t.occurred_at
GROUP BY t.opportunity_id, t.occurred_at
