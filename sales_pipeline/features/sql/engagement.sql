-- Family engagement: activities with the opportunity, each counted from the later of when it happened and when the CRM knew of it.
-- Windows are half-open: [as_of - n days, as_of).
WITH known AS (
  SELECT opportunity_id, contact_id, kind, direction, GREATEST(occurred_at, logged_at) AS known_at
  FROM activities
  WHERE opportunity_id IS NOT NULL
), windows AS (
  SELECT
    opportunity_id,
    as_of,
    as_of - INTERVAL '7' DAY AS from_7d,
    as_of - INTERVAL '30' DAY AS from_30d,
    as_of - INTERVAL '60' DAY AS from_60d,
    as_of - INTERVAL '90' DAY AS from_90d
  FROM spine
), counted AS (
  SELECT
    w.opportunity_id,
    w.as_of,
    COUNT(CASE WHEN k.known_at >= w.from_7d THEN 1 END) AS activity_count_7d,
    COUNT(CASE WHEN k.known_at >= w.from_30d THEN 1 END) AS activity_count_30d,
    COUNT(CASE WHEN k.known_at >= w.from_60d AND k.known_at < w.from_30d THEN 1 END) AS activity_count_previous_30d,
    COUNT(CASE WHEN k.known_at >= w.from_90d THEN 1 END) AS activity_count_90d,
    COUNT(k.known_at) AS activity_count,
    COUNT(CASE WHEN k.kind = 'call' AND k.known_at >= w.from_30d THEN 1 END) AS call_count_30d,
    COUNT(CASE WHEN k.kind = 'call' AND k.known_at >= w.from_90d THEN 1 END) AS call_count_90d,
    COUNT(CASE WHEN k.kind = 'email' AND k.known_at >= w.from_30d THEN 1 END) AS email_count_30d,
    COUNT(CASE WHEN k.kind = 'email' AND k.known_at >= w.from_90d THEN 1 END) AS email_count_90d,
    COUNT(CASE WHEN k.kind = 'meeting' AND k.known_at >= w.from_30d THEN 1 END) AS meeting_count_30d,
    COUNT(CASE WHEN k.kind = 'meeting' AND k.known_at >= w.from_90d THEN 1 END) AS meeting_count_90d,
    COUNT(CASE WHEN k.kind = 'meeting' THEN 1 END) AS meeting_count,
    COUNT(CASE WHEN k.direction = 'inbound' AND k.known_at >= w.from_7d THEN 1 END) AS inbound_count_7d,
    COUNT(CASE WHEN k.direction = 'inbound' AND k.known_at >= w.from_30d THEN 1 END) AS inbound_count_30d,
    COUNT(CASE WHEN k.direction = 'inbound' AND k.known_at >= w.from_90d THEN 1 END) AS inbound_count_90d,
    COUNT(CASE WHEN k.direction = 'inbound' THEN 1 END) AS inbound_count,
    COUNT(CASE WHEN k.direction = 'outbound' AND k.known_at >= w.from_30d THEN 1 END) AS outbound_count_30d,
    COUNT(CASE WHEN k.direction = 'outbound' AND k.known_at >= w.from_90d THEN 1 END) AS outbound_count_90d,
    COUNT(DISTINCT k.contact_id) AS contact_count,
    MAX(k.known_at) AS last_activity_at,
    MAX(CASE WHEN k.direction = 'inbound' THEN k.known_at END) AS last_inbound_at,
    MAX(CASE WHEN k.direction = 'outbound' THEN k.known_at END) AS last_outbound_at,
    MAX(CASE WHEN k.kind = 'meeting' THEN k.known_at END) AS last_meeting_at
  FROM windows AS w
  LEFT JOIN known AS k ON k.opportunity_id = w.opportunity_id AND k.known_at < w.as_of
  GROUP BY w.opportunity_id, w.as_of
)
SELECT
  opportunity_id,
  as_of,
  activity_count_7d,
  activity_count_30d,
  activity_count_90d,
  activity_count,
  activity_count_30d - activity_count_previous_30d AS activity_trend_30d,
  call_count_30d,
  call_count_90d,
  email_count_30d,
  email_count_90d,
  meeting_count_30d,
  meeting_count_90d,
  meeting_count,
  inbound_count_7d,
  inbound_count_30d,
  inbound_count_90d,
  inbound_count,
  outbound_count_30d,
  outbound_count_90d,
  ratio(inbound_count_90d, outbound_count_90d) AS inbound_response_ratio,
  contact_count,
  days_between(last_activity_at, as_of - INTERVAL '1' MICROSECOND) AS days_since_last_activity,
  days_between(last_inbound_at, as_of - INTERVAL '1' MICROSECOND) AS days_since_last_inbound,
  days_between(last_outbound_at, as_of - INTERVAL '1' MICROSECOND) AS days_since_last_outbound,
  days_between(last_meeting_at, as_of - INTERVAL '1' MICROSECOND) AS days_since_last_meeting
FROM counted
