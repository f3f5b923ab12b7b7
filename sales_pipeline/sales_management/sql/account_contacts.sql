-- One row per account with contacts known before the as-of: the last ones, and those by the customer in two windows of equal length. The account is
-- the activity's own, else that of its opportunity: only those without one are looked up.
WITH contacts AS (
  SELECT account_id, direction, GREATEST(occurred_at, logged_at) AS known_at
  FROM activities
  WHERE account_id IS NOT NULL AND (direction IS NOT NULL OR kind IN ('call', 'email', 'meeting'))
  UNION ALL
  SELECT s.account_id, a.direction, GREATEST(a.occurred_at, a.logged_at) AS known_at
  FROM activities AS a
  JOIN opportunity_states AS s ON s.opportunity_id = a.opportunity_id
  WHERE a.account_id IS NULL AND (a.direction IS NOT NULL OR a.kind IN ('call', 'email', 'meeting'))
)
SELECT
  account_id,
  MAX(known_at) AS last_contact_at,
  MAX(CASE WHEN direction = 'inbound' THEN known_at END) AS last_inbound_at,
  MAX(CASE WHEN direction IS NULL OR direction <> 'inbound' THEN known_at END) AS last_outbound_at,
  COUNT(CASE WHEN direction = 'inbound' AND known_at >= $recent_from THEN 1 END) AS recent_inbound_count,
  COUNT(CASE WHEN direction = 'inbound' AND known_at >= $before_from AND known_at < $recent_from THEN 1 END) AS earlier_inbound_count
FROM contacts
WHERE account_id IS NOT NULL AND known_at < $as_of
GROUP BY account_id
