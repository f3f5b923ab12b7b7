-- One row per contact known before the as-of, by the customer or not; of what lies long before it the last ones of each account (see last_contacts)
SELECT
  account_id,
  opportunity_id,
  CASE WHEN direction = 'inbound' THEN GREATEST(occurred_at, logged_at) END AS inbound_at,
  CASE WHEN direction IS NULL OR direction <> 'inbound' THEN GREATEST(occurred_at, logged_at) END AS outbound_at
FROM later_activities
WHERE (direction IS NOT NULL OR kind IN ('call', 'email', 'meeting')) AND occurred_at < $as_of AND logged_at < $as_of
UNION ALL
SELECT account_id, opportunity_id, last_inbound_at AS inbound_at, last_outbound_at AS outbound_at
FROM last_contacts
