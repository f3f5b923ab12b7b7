-- One row per change of an opportunity: its state from then on (see states), and what had happened up to and including it.
WITH new_stages AS (
  SELECT opportunity_id, MIN(position) AS position FROM states GROUP BY opportunity_id, stage
), steps AS (
  SELECT
    s.opportunity_id,
    s.changed_at,
    s.position,
    s.next_changed_at,
    s.stage,
    s.state,
    s.is_state_entry,
    s.amount,
    s.crm_close_date,
    s.crm_probability,
    s.owner_id,
    s.previous_owner_id,
    s.first_amount,
    CASE WHEN s.position = 1 OR s.stage IS DISTINCT FROM s.previous_stage THEN s.changed_at END AS stage_entry_at,
    CASE WHEN s.position > 1 AND s.stage IS DISTINCT FROM s.previous_stage THEN 1 ELSE 0 END AS is_stage_move,
    CASE WHEN s.position > 1 AND s.stage IS DISTINCT FROM s.previous_stage AND n.position IS NULL THEN 1 ELSE 0 END AS is_stage_return,
    CASE WHEN n.position IS NOT NULL THEN 1 ELSE 0 END AS is_new_stage,
    CASE WHEN s.previous_state IN ('won', 'lost') AND s.state = 'open' THEN 1 ELSE 0 END AS is_reopening,
    CASE WHEN s.amount <> s.previous_amount THEN 1 ELSE 0 END AS is_amount_change,
    CASE WHEN s.owner_id <> s.previous_owner_id THEN 1 ELSE 0 END AS is_owner_change,
    CASE WHEN s.crm_close_date > s.previous_close_date THEN 1 ELSE 0 END AS is_push,
    CASE WHEN s.crm_close_date > s.previous_close_date THEN days_between(s.previous_close_date, s.crm_close_date) ELSE 0 END AS pushed_days
  FROM states AS s
  LEFT JOIN new_stages AS n ON n.opportunity_id = s.opportunity_id AND n.position = s.position
)
SELECT
  opportunity_id,
  changed_at,
  position,
  next_changed_at,
  stage,
  state,
  is_state_entry,
  amount,
  crm_close_date,
  crm_probability,
  owner_id,
  previous_owner_id,
  first_amount,
  MAX(stage_entry_at) OVER (PARTITION BY opportunity_id ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS stage_entered_at,
  CAST(SUM(is_stage_move) OVER (PARTITION BY opportunity_id ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS stage_move_count,
  CAST(SUM(is_stage_return) OVER (PARTITION BY opportunity_id ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS stage_return_count,
  CAST(SUM(is_new_stage) OVER (PARTITION BY opportunity_id ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS stage_count,
  CAST(SUM(is_reopening) OVER (PARTITION BY opportunity_id ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS reopened_count,
  CAST(SUM(is_amount_change) OVER (PARTITION BY opportunity_id ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS amount_change_count,
  CAST(SUM(is_owner_change) OVER (PARTITION BY opportunity_id ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS owner_change_count,
  CAST(SUM(is_push) OVER (PARTITION BY opportunity_id ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS close_date_push_count,
  CAST(SUM(pushed_days) OVER (PARTITION BY opportunity_id ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS pushed_days_total
FROM steps
