-- The rows features are built for: (opportunity, as_of) at which it was open, not removed, and created before; with its state then.
-- $mode: 'scoring' (one as-of; unknown creation included), 'grid' (landmarks), 'creation' (one landmark right after creation),
-- 'undated' (no dates at all: every opportunity, closed ones too, at the as-of, with its last seen values).
-- $is_thinned: the grid has more as-ofs than $max_landmarks; else no opportunity can have too many, and none is counted.
-- Where the timeline tells the state, the spans it was open in meet the as-ofs; else every as-of is held against its dates. Both find keys and
-- the change that holds alone; columns follow once the rows are known.
WITH followed AS (
  SELECT t.opportunity_id, g.as_of, t.position
  FROM timeline AS t
  JOIN current_facts AS o
    ON o.opportunity_id = t.opportunity_id
    AND o.has_timeline
  JOIN grid AS g
    ON t.changed_at < g.as_of
    AND (t.next_changed_at IS NULL OR g.as_of <= t.next_changed_at)
    AND (o.created_at < g.as_of OR ($mode = 'scoring' AND o.created_at IS NULL))
    AND (o.removed_at IS NULL OR o.removed_at >= g.as_of)
  WHERE $mode IN ('grid', 'scoring') AND t.state = 'open'
), asked AS (
  SELECT
    o.opportunity_id,
    CASE WHEN $mode = 'creation' THEN o.created_at + INTERVAL '1' MICROSECOND ELSE g.as_of END AS as_of,
    o.has_timeline,
    o.state,
    o.created_at,
    o.closed_at,
    o.removed_at
  FROM current_facts AS o
  CROSS JOIN grid AS g
  WHERE NOT o.has_timeline OR $mode IN ('creation', 'undated')
), dated AS (
  SELECT opportunity_id, as_of, has_timeline
  FROM asked
  WHERE
    $mode = 'undated'
    OR (
      (
        ($mode = 'grid' AND created_at < as_of)
        OR ($mode = 'scoring' AND (created_at IS NULL OR created_at < as_of))
        OR ($mode = 'creation' AND as_of < $as_of)
      )
      AND (removed_at IS NULL OR removed_at >= as_of)
      AND (has_timeline OR state = 'open' OR closed_at >= as_of OR ($mode = 'creation' AND closed_at IS NULL))
    )
), opened AS (
  SELECT opportunity_id, as_of, position
  FROM followed
  UNION ALL
  SELECT d.opportunity_id, d.as_of, t.position
  FROM dated AS d
  LEFT JOIN timeline AS t
    ON t.opportunity_id = d.opportunity_id
    AND t.changed_at < d.as_of
    AND (t.next_changed_at IS NULL OR d.as_of <= t.next_changed_at)
  WHERE $mode = 'undated' OR NOT d.has_timeline OR t.state = 'open'
), numbered AS (
  SELECT
    opportunity_id,
    as_of,
    position,
    ROW_NUMBER() OVER (PARTITION BY opportunity_id ORDER BY as_of) - 1 AS landmark_number,
    COUNT(*) OVER (PARTITION BY opportunity_id) AS landmark_count
  FROM opened
  WHERE $is_thinned
), kept AS (
  SELECT opportunity_id, as_of, position FROM opened WHERE NOT $is_thinned
  UNION ALL
  SELECT opportunity_id, as_of, position
  FROM numbered
  WHERE
    landmark_count <= $max_landmarks
    OR landmark_number = 0
    OR (landmark_number * $max_landmarks) // landmark_count <> ((landmark_number - 1) * $max_landmarks) // landmark_count
)
SELECT
  k.opportunity_id,
  k.as_of,
  o.source_system,
  o.kind,
  o.pipeline,
  o.account_id,
  o.contact_id,
  CASE WHEN o.has_owner_history THEN t.owner_id ELSE o.owner_id END AS owner_id,
  o.product_id,
  CASE WHEN o.has_timeline THEN t.stage ELSE o.stage END AS stage,
  o.currency,
  CASE WHEN o.has_amount_history THEN t.amount ELSE o.amount END AS amount,
  CASE WHEN o.has_close_date_history THEN t.crm_close_date ELSE o.crm_close_date END AS crm_close_date,
  CASE WHEN o.has_probability_history THEN t.crm_probability ELSE o.crm_probability END AS crm_probability,
  o.created_at,
  $mode <> 'scoring' AS is_landmark
FROM kept AS k
JOIN current_facts AS o ON o.opportunity_id = k.opportunity_id
LEFT JOIN timeline AS t ON t.opportunity_id = k.opportunity_id AND t.position = k.position
