-- One row per opportunity of `open_opportunities` with any contact known strictly before as-of.
-- A contact is a call, an e-mail or a meeting; one whose direction is not recorded counts as ours.
WITH touches AS (
  SELECT a.opportunity_id, a.contact_id, a.direction, a.occurred_at, a.activity_id
  FROM activities AS a
  INNER JOIN open_opportunities AS o ON a.opportunity_id = o.opportunity_id
  WHERE a.occurred_at < $as_of AND a.logged_at < $as_of AND a.kind IN ('call', 'email', 'meeting')
),
people AS (
  SELECT
    opportunity_id,
    contact_id,
    ROW_NUMBER() OVER (PARTITION BY opportunity_id ORDER BY occurred_at DESC, activity_id DESC) AS recency
  FROM touches
  WHERE contact_id IS NOT NULL
),
latest_person AS (
  SELECT opportunity_id, contact_id FROM people WHERE recency = 1
),
totals AS (
  SELECT
    opportunity_id,
    COUNT(*) AS touch_count,
    MAX(occurred_at) AS last_touch_at,
    MAX(CASE WHEN direction = 'inbound' THEN occurred_at END) AS last_inbound_at,
    MAX(CASE WHEN COALESCE(direction, 'outbound') = 'outbound' THEN occurred_at END) AS last_outbound_at
  FROM touches
  GROUP BY opportunity_id
)
SELECT
  t.opportunity_id,
  t.touch_count,
  t.last_touch_at,
  t.last_inbound_at,
  t.last_outbound_at,
  p.contact_id
FROM totals AS t
LEFT JOIN latest_person AS p ON t.opportunity_id = p.opportunity_id
ORDER BY t.opportunity_id
