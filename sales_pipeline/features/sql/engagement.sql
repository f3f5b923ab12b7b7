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
    days_before(as_of, 7) AS from_7d,
    days_before(as_of, 30) AS from_30d,
    days_before(as_of, 60) AS from_60d,
    days_before(as_of, 90) AS from_90d
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
  s.opportunity_id,
  s.as_of,
  c.activity_count_7d,
  c.activity_count_30d,
  c.activity_count_90d,
  c.activity_count,
  c.activity_count_30d - c.activity_count_previous_30d AS activity_trend_30d,
  c.call_count_30d,
  c.call_count_90d,
  c.email_count_30d,
  c.email_count_90d,
  c.meeting_count_30d,
  c.meeting_count_90d,
  c.meeting_count,
  c.inbound_count_7d,
  c.inbound_count_30d,
  c.inbound_count_90d,
  c.inbound_count,
  c.outbound_count_30d,
  c.outbound_count_90d,
  ratio(c.inbound_count_90d, c.outbound_count_90d) AS inbound_response_ratio,
  c.contact_count,
  days_between(c.last_activity_at, instant_before(s.as_of)) AS days_since_last_activity,
  days_between(c.last_inbound_at, instant_before(s.as_of)) AS days_since_last_inbound,
  days_between(c.last_outbound_at, instant_before(s.as_of)) AS days_since_last_outbound,
  days_between(c.last_meeting_at, instant_before(s.as_of)) AS days_since_last_meeting
FROM spine AS s
JOIN counted AS c ON c.opportunity_id = s.opportunity_id AND c.as_of = s.as_of
