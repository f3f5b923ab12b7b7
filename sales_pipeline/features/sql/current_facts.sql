-- One row per opportunity: its facts as last seen, and how its past is known. has_timeline: the stage is versioned and there are
-- changes, so that its state at T is read from the timeline; else from created_at and closed_at.
WITH versioned AS (
  SELECT
    COALESCE(MAX(CASE WHEN field = 'stage' AND is_versioned THEN 1 ELSE 0 END), 0) AS stage_versioned,
    COALESCE(MAX(CASE WHEN field = 'amount' AND is_versioned THEN 1 ELSE 0 END), 0) AS amount_versioned,
    COALESCE(MAX(CASE WHEN field = 'crm_close_date' AND is_versioned THEN 1 ELSE 0 END), 0) AS close_date_versioned,
    COALESCE(MAX(CASE WHEN field = 'crm_probability' AND is_versioned THEN 1 ELSE 0 END), 0) AS probability_versioned,
    COALESCE(MAX(CASE WHEN field = 'owner_id' AND is_versioned THEN 1 ELSE 0 END), 0) AS owner_versioned
  FROM field_history
), tracked AS (
  SELECT opportunity_id FROM timeline WHERE position = 1
)
SELECT
  o.*,
  t.opportunity_id IS NOT NULL AS has_changes,
  t.opportunity_id IS NOT NULL AND v.stage_versioned = 1 AS has_timeline,
  t.opportunity_id IS NOT NULL AND v.amount_versioned = 1 AS has_amount_history,
  t.opportunity_id IS NOT NULL AND v.close_date_versioned = 1 AS has_close_date_history,
  t.opportunity_id IS NOT NULL AND v.probability_versioned = 1 AS has_probability_history,
  t.opportunity_id IS NOT NULL AND v.owner_versioned = 1 AS has_owner_history
FROM opportunities AS o
CROSS JOIN versioned AS v
LEFT JOIN tracked AS t ON t.opportunity_id = o.opportunity_id
