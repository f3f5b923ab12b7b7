-- One row per owner, open stage and number of days: stays in the stage begun in the window that ended after so many days, and those going on. A stay is
-- the owner's who held the opportunity at its end; each return to a stage is a stay of its own. Nearly every stay is one change: those alone that hold
-- a further one are put together.
WITH longer AS (
  SELECT DISTINCT opportunity_id, stage_entered_at FROM open_states WHERE changed_at > stage_entered_at
), stays AS (
  SELECT k.opportunity_id, k.stage, k.stage_entered_at, k.owner_id, k.left_at IS NULL AS is_going, k.left_at
  FROM open_states AS k
  ANTI JOIN longer AS l ON l.opportunity_id = k.opportunity_id AND l.stage_entered_at = k.stage_entered_at
  UNION ALL
  SELECT
    k.opportunity_id,
    k.stage,
    k.stage_entered_at,
    latest(k.owner_id, k.changed_at) AS owner_id,
    MAX(CASE WHEN k.left_at IS NULL THEN 1 ELSE 0 END) = 1 AS is_going,
    MAX(k.left_at) AS left_at
  FROM open_states AS k
  SEMI JOIN longer AS l ON l.opportunity_id = k.opportunity_id AND l.stage_entered_at = k.stage_entered_at
  GROUP BY k.opportunity_id, k.stage, k.stage_entered_at
), timed AS (
  SELECT
    CASE WHEN s.has_owner_history THEN t.owner_id ELSE s.owner_id END AS owner_id,
    t.stage,
    t.is_going,
    days_between(t.stage_entered_at, CASE WHEN t.is_going THEN $as_of - INTERVAL '1' MICROSECOND ELSE t.left_at END) AS days
  FROM stays AS t
  JOIN opportunity_states AS s ON s.opportunity_id = t.opportunity_id AND s.has_timeline
  WHERE s.kind = $counted_kind
)
SELECT
  owner_id,
  stage,
  days,
  COUNT(CASE WHEN NOT is_going THEN 1 END) AS ended_count,
  COUNT(CASE WHEN is_going THEN 1 END) AS going_count
FROM timed
GROUP BY owner_id, stage, days
