-- One row per opportunity of the spine, which has one as-of, $as_of, with any contact known strictly before it, and the person of the last contact that
-- names one.
-- A contact is a call, an e-mail or a meeting; one whose direction is not recorded counts as ours.
WITH touches AS (
  SELECT a.opportunity_id, a.contact_id, a.direction, a.occurred_at, a.activity_id
  FROM activities AS a
  INNER JOIN spine AS o ON a.opportunity_id = o.opportunity_id
  WHERE a.occurred_at < $as_of AND a.logged_at < $as_of AND a.kind IN ('call', 'email', 'meeting')
),
totals AS (
  SELECT
    opportunity_id,
    MAX(occurred_at) AS last_touch_at,
    MAX(CASE WHEN direction = 'inbound' THEN occurred_at END) AS last_inbound_at,
    MAX(CASE WHEN COALESCE(direction, 'outbound') = 'outbound' THEN occurred_at END) AS last_outbound_at,
    MAX(CASE WHEN contact_id IS NOT NULL THEN occurred_at END) AS last_named_at
  FROM touches
  GROUP BY opportunity_id
),
latest_person AS (
  -- of several at that instant the one with the last id
  SELECT t.opportunity_id, latest(t.contact_id, t.activity_id) AS contact_id
  FROM touches AS t
  INNER JOIN totals AS s ON s.opportunity_id = t.opportunity_id AND s.last_named_at = t.occurred_at
  WHERE t.contact_id IS NOT NULL
  GROUP BY t.opportunity_id
)
SELECT
  t.opportunity_id,
  t.last_touch_at,
  t.last_inbound_at,
  t.last_outbound_at,
  p.contact_id
FROM totals AS t
LEFT JOIN latest_person AS p ON t.opportunity_id = p.opportunity_id
