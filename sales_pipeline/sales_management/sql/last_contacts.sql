-- One row per account (of activities without one, per opportunity): the last contacts of a part of the activities, as known at the later of when they
-- happened and when the CRM knew of them.
SELECT
  account_id,
  CASE WHEN account_id IS NULL THEN opportunity_id END AS opportunity_id,
  MAX(CASE WHEN direction = 'inbound' THEN GREATEST(occurred_at, logged_at) END) AS last_inbound_at,
  MAX(CASE WHEN direction IS NULL OR direction <> 'inbound' THEN GREATEST(occurred_at, logged_at) END) AS last_outbound_at
FROM activities
WHERE (direction IS NOT NULL OR kind IN ('call', 'email', 'meeting')) AND (account_id IS NOT NULL OR opportunity_id IS NOT NULL)
GROUP BY account_id, CASE WHEN account_id IS NULL THEN opportunity_id END
