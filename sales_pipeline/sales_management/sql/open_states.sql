-- One row per open state with a stage entered in the window: until when it stood, NULL where that is not known before the as-of.
SELECT
  opportunity_id,
  stage,
  stage_entered_at,
  changed_at,
  owner_id,
  CASE WHEN next_changed_at < $as_of THEN next_changed_at END AS left_at
FROM timeline
WHERE
  state = 'open' AND stage IS NOT NULL AND changed_at < $as_of AND stage_entered_at >= $created_from
  AND (next_changed_at IS NULL OR next_changed_at > changed_at)
