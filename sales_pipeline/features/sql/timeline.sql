-- One row per change of an opportunity: its state from then on (see states), and what had happened up to and including it.
WITH numbered AS (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY opportunity_id, stage ORDER BY position) AS stage_row
  FROM states
), steps AS (
  SELECT
    *,
    CASE WHEN position = 1 OR stage IS DISTINCT FROM previous_stage THEN changed_at END AS stage_entry_at,
    CASE WHEN position > 1 AND stage IS DISTINCT FROM previous_stage THEN 1 ELSE 0 END AS is_stage_move,
    CASE WHEN position > 1 AND stage IS DISTINCT FROM previous_stage AND stage_row > 1 THEN 1 ELSE 0 END AS is_stage_return,
    CASE WHEN stage_row = 1 THEN 1 ELSE 0 END AS is_new_stage,
    CASE WHEN previous_state IN ('won', 'lost') AND state = 'open' THEN 1 ELSE 0 END AS is_reopening,
    CASE WHEN amount <> previous_amount THEN 1 ELSE 0 END AS is_amount_change,
    CASE WHEN owner_id <> previous_owner_id THEN 1 ELSE 0 END AS is_owner_change,
    CASE WHEN crm_close_date > previous_close_date THEN 1 ELSE 0 END AS is_push,
    CASE WHEN crm_close_date > previous_close_date THEN days_between(previous_close_date, crm_close_date) ELSE 0 END AS pushed_days
  FROM numbered
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
