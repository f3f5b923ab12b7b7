-- The rows features are built for: (opportunity, as_of) at which it was open, not removed, and created before; with its state then.
-- $mode: 'scoring' (one as-of; unknown creation included), 'grid' (landmarks), 'creation' (one landmark right after creation),
-- 'undated' (no dates at all: every opportunity, closed ones too, at the as-of, with its last seen values).
WITH instants AS (
  SELECT
    o.opportunity_id,
    CASE WHEN $mode = 'creation' THEN o.created_at + INTERVAL '1' MICROSECOND ELSE g.as_of END AS as_of
  FROM current_facts AS o
  CROSS JOIN grid AS g
  WHERE
    ($mode = 'grid' AND o.created_at < g.as_of)
    OR ($mode = 'scoring' AND (o.created_at IS NULL OR o.created_at < g.as_of))
    OR ($mode = 'creation' AND o.created_at + INTERVAL '1' MICROSECOND < $as_of)
    OR $mode = 'undated'
), states AS (
  SELECT
    i.as_of,
    o.*,
    t.state AS past_state,
    t.stage AS past_stage,
    t.amount AS past_amount,
    t.crm_close_date AS past_close_date,
    t.crm_probability AS past_probability,
    t.owner_id AS past_owner_id
  FROM instants AS i
  JOIN current_facts AS o ON o.opportunity_id = i.opportunity_id
  LEFT JOIN timeline AS t
    ON t.opportunity_id = i.opportunity_id
    AND t.changed_at < i.as_of
    AND (t.next_changed_at IS NULL OR i.as_of <= t.next_changed_at)
), opened AS (
  SELECT *
  FROM states
  WHERE
    $mode = 'undated'
    OR (
      (removed_at IS NULL OR removed_at >= as_of)
      AND CASE
        WHEN has_timeline THEN past_state = 'open'
        ELSE state = 'open' OR closed_at >= as_of OR ($mode = 'creation' AND closed_at IS NULL)
      END
    )
), numbered AS (
  SELECT
    *,
    ROW_NUMBER() OVER (PARTITION BY opportunity_id ORDER BY as_of) - 1 AS landmark_number,
    COUNT(*) OVER (PARTITION BY opportunity_id) AS landmark_count
  FROM opened
)
SELECT
  opportunity_id,
  as_of,
  source_system,
  kind,
  pipeline,
  account_id,
  contact_id,
  CASE WHEN has_owner_history THEN past_owner_id ELSE owner_id END AS owner_id,
  product_id,
  CASE WHEN has_timeline THEN past_stage ELSE stage END AS stage,
  currency,
  CASE WHEN has_amount_history THEN past_amount ELSE amount END AS amount,
  CASE WHEN has_close_date_history THEN past_close_date ELSE crm_close_date END AS crm_close_date,
  CASE WHEN has_probability_history THEN past_probability ELSE crm_probability END AS crm_probability,
  created_at,
  $mode <> 'scoring' AS is_landmark
FROM numbered
WHERE
  landmark_count <= $max_landmarks
  OR landmark_number = 0
  OR (landmark_number * $max_landmarks) // landmark_count <> ((landmark_number - 1) * $max_landmarks) // landmark_count
