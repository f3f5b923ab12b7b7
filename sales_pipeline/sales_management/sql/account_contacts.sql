-- One row per account with contacts known before the as-of: the last ones, and those by the customer in two windows of equal length. The account is
-- the activity's own, else that of its opportunity: only those without one are looked up.
WITH named AS (
  SELECT account_id, inbound_at, outbound_at
  FROM known_contacts
  WHERE account_id IS NOT NULL
  UNION ALL
  SELECT s.account_id, c.inbound_at, c.outbound_at
  FROM known_contacts AS c
  JOIN opportunity_states AS s ON s.opportunity_id = c.opportunity_id
  WHERE c.account_id IS NULL
)
SELECT
  account_id,
  GREATEST(MAX(inbound_at), MAX(outbound_at)) AS last_contact_at,
  MAX(inbound_at) AS last_inbound_at,
  MAX(outbound_at) AS last_outbound_at,
  COUNT(CASE WHEN inbound_at >= $recent_from THEN 1 END) AS recent_inbound_count,
  COUNT(CASE WHEN inbound_at >= $before_from AND inbound_at < $recent_from THEN 1 END) AS earlier_inbound_count
FROM named
WHERE account_id IS NOT NULL
GROUP BY account_id
