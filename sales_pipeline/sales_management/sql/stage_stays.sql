-- One row per owner, open stage and number of days: stays in the stage begun in the window that ended after so many days, and those going on. A stay is
-- the owner's who held the opportunity at its end; each return to a stage is a stay of its own.
WITH known AS (
  SELECT
    t.opportunity_id,
    t.stage,
    t.stage_entered_at,
    t.changed_at,
    CASE WHEN s.has_owner_history THEN t.owner_id ELSE s.owner_id END AS owner_id,
    CASE WHEN t.next_changed_at < $as_of THEN t.next_changed_at END AS left_at
  FROM timeline AS t
  JOIN opportunity_states AS s ON s.opportunity_id = t.opportunity_id AND s.has_timeline
  WHERE
    s.kind = $counted_kind AND t.state = 'open' AND t.stage IS NOT NULL AND t.changed_at < $as_of AND t.stage_entered_at >= $created_from
    AND (t.next_changed_at IS NULL OR t.next_changed_at > t.changed_at)
), stays AS (
  SELECT
    opportunity_id,
    stage,
    stage_entered_at,
    latest(owner_id, changed_at) AS owner_id,
    MAX(CASE WHEN left_at IS NULL THEN 1 ELSE 0 END) AS is_going,
    MAX(left_at) AS left_at
  FROM known
  GROUP BY opportunity_id, stage, stage_entered_at
), timed AS (
  SELECT
    owner_id,
    stage,
    is_going,
    days_between(stage_entered_at, CASE WHEN is_going = 1 THEN $as_of - INTERVAL '1' MICROSECOND ELSE left_at END) AS days
  FROM stays
)
SELECT
  owner_id,
  stage,
  days,
  COUNT(CASE WHEN is_going = 0 THEN 1 END) AS ended_count,
  COUNT(CASE WHEN is_going = 1 THEN 1 END) AS going_count
FROM timed
GROUP BY owner_id, stage, days
