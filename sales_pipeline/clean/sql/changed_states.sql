-- The whole state of every opportunity right after each change. Events (snapshots, single fields, creation, what the last export shows) are
-- put in one order and filled forward; an event that changes nothing leaves no row. Sentinels stand for "set to nothing" while filling.
-- `is_turn`: the state (open, won, lost) is another than before, or the first. `shares_instant`: other events, be they kept or not, stand at the same
-- instant; then `step`, `change_id` and `source_record` say in which order.
WITH current_rows AS (
  SELECT s.* FROM staged_opportunities AS s
  JOIN opportunity_keys AS k ON k.found_id = s.opportunity_id AND k.opportunity_id = s.opportunity_id
  WHERE s.problem IS NULL AND s.version = 1
), snapshots AS (
  SELECT opportunity_id, changed_at, change_id, source_record, stage, state, amount, crm_close_date, crm_probability, owner_id
  FROM staged_state_history WHERE problem IS NULL AND version = 1
), single_fields AS (
  SELECT * FROM staged_field_history WHERE problem IS NULL AND version = 1 AND attribute IS NULL
), snapshot_instants AS (
  SELECT f.opportunity_id, f.changed_at
  FROM single_fields AS f JOIN snapshots AS s ON s.opportunity_id = f.opportunity_id AND s.changed_at = f.changed_at
  GROUP BY f.opportunity_id, f.changed_at
), fields AS (
  SELECT f.*, i.changed_at IS NOT NULL AS is_in_snapshot
  FROM single_fields AS f
  LEFT JOIN snapshot_instants AS i ON i.opportunity_id = f.opportunity_id AND i.changed_at = f.changed_at
), first_fields AS (
  SELECT opportunity_id, field, MIN(changed_at) AS changed_at FROM fields GROUP BY opportunity_id, field
), before_first AS (
  SELECT f.opportunity_id,
    MAX(CASE WHEN f.field = 'stage' THEN 1 ELSE 0 END) = 1 AS has_stage, MIN(f.old_stage) AS stage, MIN(f.old_state) AS state,
    MAX(CASE WHEN f.field = 'amount' THEN 1 ELSE 0 END) = 1 AS has_amount, MIN(f.old_amount) AS amount,
    MAX(CASE WHEN f.field = 'crm_close_date' THEN 1 ELSE 0 END) = 1 AS has_close_date, MIN(f.old_close_date) AS crm_close_date,
    MAX(CASE WHEN f.field = 'crm_probability' THEN 1 ELSE 0 END) = 1 AS has_probability, MIN(f.old_probability) AS crm_probability,
    MAX(CASE WHEN f.field = 'owner_id' THEN 1 ELSE 0 END) = 1 AS has_owner, MIN(f.old_owner_id) AS owner_id
  FROM fields AS f
  JOIN first_fields AS g ON g.opportunity_id = f.opportunity_id AND g.field = f.field AND g.changed_at = f.changed_at
  GROUP BY f.opportunity_id
), first_instants AS (
  SELECT opportunity_id, MIN(changed_at) AS changed_at FROM snapshots GROUP BY opportunity_id
), ordered_snapshots AS (
  SELECT s.*, ROW_NUMBER() OVER (PARTITION BY s.opportunity_id ORDER BY s.change_id NULLS FIRST, s.source_record) AS number
  FROM snapshots AS s JOIN first_instants AS f ON f.opportunity_id = s.opportunity_id AND f.changed_at = s.changed_at
), known_times AS (
  SELECT opportunity_id, MIN(changed_at) AS first_at, MAX(changed_at) AS last_at FROM (
    SELECT opportunity_id, changed_at FROM snapshots UNION ALL SELECT opportunity_id, changed_at FROM fields
  ) AS instants GROUP BY opportunity_id
), subjects AS (
  SELECT c.*, t.first_at, t.last_at, LEAST(c.created_at, t.first_at) AS started_at,
    TRY_CAST(CAST(c.crm_close_date AS VARCHAR) || ' 23:59:59 ' || $zone AS TIMESTAMPTZ) AS close_day_end,
    s.stage AS snapshot_stage, s.state AS snapshot_state, s.amount AS snapshot_amount, s.crm_close_date AS snapshot_close_date,
    s.crm_probability AS snapshot_probability, s.owner_id AS snapshot_owner_id,
    COALESCE(days_before(s.changed_at, 1) <= c.created_at, FALSE) AS is_snapshot_early,
    COALESCE(b.has_stage, FALSE) AS has_old_stage, b.stage AS old_stage, b.state AS old_state,
    COALESCE(b.has_amount, FALSE) AS has_old_amount, b.amount AS old_amount,
    COALESCE(b.has_close_date, FALSE) AS has_old_close_date, b.crm_close_date AS old_close_date,
    COALESCE(b.has_probability, FALSE) AS has_old_probability, b.crm_probability AS old_probability,
    COALESCE(b.has_owner, FALSE) AS has_old_owner, b.owner_id AS old_owner_id
  FROM current_rows AS c
  LEFT JOIN known_times AS t ON t.opportunity_id = c.opportunity_id
  LEFT JOIN ordered_snapshots AS s ON s.opportunity_id = c.opportunity_id AND s.number = 1
  LEFT JOIN before_first AS b ON b.opportunity_id = c.opportunity_id
), creations AS (
  SELECT opportunity_id, started_at AS changed_at,
    CASE WHEN $snapshots_have_stage THEN CASE WHEN is_snapshot_early THEN snapshot_stage WHEN has_old_stage THEN old_stage END
      WHEN has_old_stage THEN old_stage WHEN state = 'open' OR NOT $stage_is_versioned THEN stage END AS stage,
    CASE WHEN $snapshots_have_stage AND is_snapshot_early THEN snapshot_state WHEN has_old_stage THEN old_state ELSE 'open' END AS state,
    CASE WHEN $snapshots_have_amount THEN CASE WHEN is_snapshot_early THEN snapshot_amount WHEN has_old_amount THEN old_amount END
      WHEN has_old_amount THEN old_amount ELSE amount END AS amount,
    CASE WHEN $snapshots_have_close_date THEN CASE WHEN is_snapshot_early THEN snapshot_close_date WHEN has_old_close_date THEN old_close_date END
      WHEN has_old_close_date THEN old_close_date ELSE crm_close_date END AS crm_close_date,
    CASE WHEN $snapshots_have_probability THEN CASE WHEN is_snapshot_early THEN snapshot_probability WHEN has_old_probability THEN old_probability END
      WHEN has_old_probability THEN old_probability ELSE crm_probability END AS crm_probability,
    CASE WHEN $snapshots_have_owner THEN CASE WHEN is_snapshot_early THEN snapshot_owner_id WHEN has_old_owner THEN old_owner_id END
      WHEN has_old_owner THEN old_owner_id ELSE owner_id END AS owner_id
  FROM subjects WHERE started_at IS NOT NULL
), last_seen AS (
  SELECT opportunity_id, state, stage, amount, crm_close_date, owner_id, crm_probability,
    CASE
      WHEN state = 'open' THEN COALESCE(modified_at, exported_at)
      WHEN closed_at >= COALESCE(last_at, closed_at) THEN closed_at
      WHEN close_day_end >= COALESCE(last_at, started_at, close_day_end) AND close_day_end <= exported_at THEN close_day_end
      WHEN last_at IS NOT NULL THEN COALESCE(modified_at, exported_at)
    END AS seen_at,
    COALESCE(last_at, started_at) AS known_at
  FROM subjects
  WHERE state <> 'open' OR started_at IS NOT NULL
), events AS (
  SELECT opportunity_id, changed_at, 0 AS step, '' AS change_id, CAST(0 AS BIGINT) AS source_record, TRUE AS is_creation,
    COALESCE(stage, '') AS stage, state, COALESCE(amount, no_amount()) AS amount, COALESCE(crm_close_date, no_day()) AS crm_close_date,
    COALESCE(crm_probability, -1) AS crm_probability, COALESCE(owner_id, '') AS owner_id
  FROM creations
  UNION ALL
  SELECT opportunity_id, changed_at, 1, COALESCE(change_id, ''), source_record, FALSE,
    CASE WHEN field = 'stage' AND NOT (is_in_snapshot AND $snapshots_have_stage) THEN COALESCE(new_stage, '') END,
    CASE WHEN field = 'stage' AND NOT (is_in_snapshot AND $snapshots_have_stage) THEN new_state END,
    CASE WHEN field = 'amount' AND NOT (is_in_snapshot AND $snapshots_have_amount) THEN COALESCE(new_amount, no_amount()) END,
    CASE WHEN field = 'crm_close_date' AND NOT (is_in_snapshot AND $snapshots_have_close_date) THEN COALESCE(new_close_date, no_day()) END,
    CASE WHEN field = 'crm_probability' AND NOT (is_in_snapshot AND $snapshots_have_probability) THEN COALESCE(new_probability, -1) END,
    CASE WHEN field = 'owner_id' AND NOT (is_in_snapshot AND $snapshots_have_owner) THEN COALESCE(new_owner_id, '') END
  FROM fields
  UNION ALL
  SELECT opportunity_id, changed_at, 2, COALESCE(change_id, ''), source_record, FALSE,
    CASE WHEN $snapshots_have_stage THEN COALESCE(stage, '') END, CASE WHEN $snapshots_have_stage THEN state END,
    CASE WHEN $snapshots_have_amount THEN COALESCE(amount, no_amount()) END,
    CASE WHEN $snapshots_have_close_date THEN COALESCE(crm_close_date, no_day()) END,
    CASE WHEN $snapshots_have_probability THEN COALESCE(crm_probability, -1) END,
    CASE WHEN $snapshots_have_owner THEN COALESCE(owner_id, '') END
  FROM snapshots
  UNION ALL
  SELECT opportunity_id, GREATEST(seen_at, known_at), 3, '', CAST(0 AS BIGINT), FALSE,
    COALESCE(stage, ''), state, COALESCE(amount, no_amount()), COALESCE(crm_close_date, no_day()), CASE WHEN known_at IS NULL THEN COALESCE(crm_probability, -1) END, COALESCE(owner_id, '')
  FROM last_seen WHERE seen_at IS NOT NULL
), moved AS (
  -- beside what an event sets, each value as last set before it: one sort serves all
  SELECT *,
    LAG(stage IGNORE NULLS) OVER (PARTITION BY opportunity_id ORDER BY changed_at, step, change_id, source_record) AS previous_stage,
    LAG(state IGNORE NULLS) OVER (PARTITION BY opportunity_id ORDER BY changed_at, step, change_id, source_record) AS previous_state,
    LAG(amount IGNORE NULLS) OVER (PARTITION BY opportunity_id ORDER BY changed_at, step, change_id, source_record) AS previous_amount,
    LAG(crm_close_date IGNORE NULLS) OVER (PARTITION BY opportunity_id ORDER BY changed_at, step, change_id, source_record) AS previous_close_date,
    LAG(crm_probability IGNORE NULLS) OVER (PARTITION BY opportunity_id ORDER BY changed_at, step, change_id, source_record) AS previous_probability,
    LAG(owner_id IGNORE NULLS) OVER (PARTITION BY opportunity_id ORDER BY changed_at, step, change_id, source_record) AS previous_owner_id,
    LAG(changed_at) OVER (PARTITION BY opportunity_id ORDER BY changed_at, step, change_id, source_record) AS previous_at,
    LEAD(changed_at) OVER (PARTITION BY opportunity_id ORDER BY changed_at, step, change_id, source_record) AS next_at
  FROM events
), filled AS (
  SELECT opportunity_id, changed_at, step, change_id, source_record, is_creation, previous_at, next_at,
    previous_at IS NULL OR COALESCE(state, previous_state, 'open') <> COALESCE(previous_state, 'open') AS is_turn,
    COALESCE(stage, previous_stage) AS stage, COALESCE(state, previous_state) AS state, COALESCE(amount, previous_amount) AS amount, COALESCE(crm_close_date, previous_close_date) AS crm_close_date, COALESCE(crm_probability, previous_probability) AS crm_probability, COALESCE(owner_id, previous_owner_id) AS owner_id,
    previous_stage, previous_amount, previous_close_date, previous_probability, previous_owner_id
  FROM moved
), kept AS (
  -- an opportunity's first event, and those after which something is not as before
  SELECT opportunity_id, changed_at, step, change_id, source_record, is_creation, is_turn, COALESCE(changed_at = previous_at OR changed_at = next_at, FALSE) AS shares_instant,
    COALESCE(state, 'open') AS state, NULLIF(stage, '') AS stage, NULLIF(amount, no_amount()) AS amount, NULLIF(crm_close_date, no_day()) AS crm_close_date,
    NULLIF(crm_probability, -1) AS crm_probability, NULLIF(owner_id, '') AS owner_id
  FROM filled
  WHERE is_turn
    OR ($stage_is_versioned AND COALESCE(stage, '') <> COALESCE(previous_stage, ''))
    OR ($amount_is_versioned AND COALESCE(amount, no_amount()) <> COALESCE(previous_amount, no_amount()))
    OR ($close_date_is_versioned AND COALESCE(crm_close_date, no_day()) <> COALESCE(previous_close_date, no_day()))
    OR ($probability_is_versioned AND COALESCE(crm_probability, -1) <> COALESCE(previous_probability, -1))
    OR ($owner_is_versioned AND COALESCE(owner_id, '') <> COALESCE(previous_owner_id, ''))
)
SELECT n.opportunity_id, n.changed_at, n.shares_instant, n.step, CASE WHEN n.shares_instant THEN n.change_id END AS change_id, n.source_record, n.is_creation, n.is_turn,
  CASE WHEN $stage_is_versioned THEN n.stage ELSE c.stage END AS stage, n.state,
  CASE WHEN $amount_is_versioned THEN n.amount ELSE c.amount END AS amount,
  CASE WHEN $close_date_is_versioned THEN n.crm_close_date ELSE c.crm_close_date END AS crm_close_date,
  CASE WHEN $probability_is_versioned THEN n.crm_probability ELSE c.crm_probability END AS crm_probability,
  CASE WHEN $owner_is_versioned THEN n.owner_id ELSE c.owner_id END AS owner_id
FROM kept AS n JOIN current_rows AS c ON c.opportunity_id = n.opportunity_id
