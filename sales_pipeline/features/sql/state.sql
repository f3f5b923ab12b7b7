-- Family state: where the opportunity stood and how it had moved, from the changes strictly before the as-of. Every entry into a stage but the first
-- into each is a return; no stage counts as one too.
WITH changes AS (
  SELECT
    s.opportunity_id,
    s.as_of,
    COUNT(CASE WHEN t.is_stage_entry THEN 1 END) AS stage_entry_count,
    COUNT(CASE WHEN t.is_reopening THEN 1 END) AS reopened_count,
    COUNT(CASE WHEN t.is_amount_change THEN 1 END) AS amount_change_count,
    COUNT(CASE WHEN t.is_owner_change THEN 1 END) AS owner_change_count,
    COUNT(t.pushed_days) AS close_date_push_count,
    CAST(COALESCE(SUM(t.pushed_days), 0) AS BIGINT) AS pushed_days_total,
    MAX(t.first_amount) AS first_amount,
    MAX(t.stage_entered_at) AS stage_entered_at,
    COUNT(DISTINCT t.stage) + MAX(CASE WHEN t.stage IS NULL THEN 1 ELSE 0 END) AS stage_count,
    MAX(t.changed_at) AS last_changed_at
  FROM spine AS s
  JOIN timeline AS t ON t.opportunity_id = s.opportunity_id AND t.changed_at < s.as_of
  GROUP BY s.opportunity_id, s.as_of
)
SELECT
  s.opportunity_id,
  s.as_of,
  s.stage,
  days_between(c.stage_entered_at, instant_before(s.as_of)) AS days_in_stage,
  days_between(s.created_at, instant_before(s.as_of)) AS age_days,
  days_between(instant_before(s.as_of), s.crm_close_date) AS days_to_crm_close_date,
  s.crm_close_date < day_of(instant_before(s.as_of)) AS is_past_crm_close_date,
  days_between(s.created_at, s.crm_close_date) AS planned_cycle_days,
  c.stage_entry_count - 1 AS stage_move_count,
  c.stage_entry_count - c.stage_count AS stage_return_count,
  c.stage_count,
  c.reopened_count,
  c.close_date_push_count,
  c.pushed_days_total,
  s.amount,
  c.amount_change_count,
  ratio(s.amount, c.first_amount) AS amount_change_ratio,
  c.owner_change_count,
  days_between(c.last_changed_at, instant_before(s.as_of)) AS days_since_last_change,
  s.crm_probability
FROM spine AS s
LEFT JOIN changes AS c ON c.opportunity_id = s.opportunity_id AND c.as_of = s.as_of
