-- One row per call, e-mail or meeting with an opportunity, or whatever else has a direction, known before the as-of; of what lies long before it the last
-- one of each part of the activities (see last_talks)
SELECT opportunity_id, activity_id, occurred_at, direction
FROM later_activities
WHERE
  opportunity_id IS NOT NULL AND (direction IS NOT NULL OR kind IN ('call', 'email', 'meeting'))
  AND occurred_at < $as_of AND logged_at < $as_of
UNION ALL
SELECT opportunity_id, activity_id, occurred_at, direction
FROM last_talks
