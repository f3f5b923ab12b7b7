-- raw_state_history, parsed: whole states right after an instant, one row per record
WITH parsed AS (
  SELECT r.source_file, r.source_record, v.exported_at, clean_text(r.change_id) AS change_id,
    parse_id(r.opportunity_id, $id_style) AS found_id,
    parse_instant(r.changed_at, $date_order, $zone) AS changed_at, r.changed_at AS changed_at_found,
    clean_text(r.stage) AS stage_text, norm(r.stage) AS stage_key,
    parse_amount(r.amount, $decimal_sign) AS amount, r.amount AS amount_found,
    parse_day(r.crm_close_date, $date_order) AS crm_close_date, r.crm_close_date AS crm_close_date_found,
    parse_number(REPLACE(r.crm_probability, '%', ''), $decimal_sign) / $probability_scale AS probability_share,
    r.crm_probability AS crm_probability_found,
    parse_id(r.owner_id, $id_style) AS owner_id, COALESCE(parse_flag(r.is_deleted), FALSE) AS is_deleted
  FROM raw_state_history AS r LEFT JOIN sightings AS v ON v.source_file = r.source_file
), known AS (
  SELECT p.*, k.opportunity_id, COALESCE(m.label, p.stage_text) AS stage, COALESCE(m.state, CASE WHEN NOT $stages_are_listed OR p.stage_key IS NULL THEN 'open' END) AS state,
    CASE
      WHEN p.found_id IS NULL THEN 'missing key'
      WHEN p.is_deleted THEN 'deleted'
      WHEN p.changed_at IS NULL THEN 'no instant'
      WHEN k.opportunity_id IS NULL THEN 'orphan'
      WHEN $stages_are_listed AND p.stage_key IS NOT NULL AND m.state IS NULL THEN 'unknown stage'
    END AS problem
  FROM parsed AS p
  LEFT JOIN opportunity_keys AS k ON k.found_id = p.found_id
  LEFT JOIN stage_map AS m ON m.key = p.stage_key
)
SELECT source_file, source_record, exported_at, opportunity_id, changed_at, change_id, stage, state, CASE WHEN amount >= 0 THEN amount END AS amount, crm_close_date,
  CASE WHEN probability_share BETWEEN 0 AND 1 THEN probability_share END AS crm_probability, owner_id, problem,
  CASE problem WHEN 'unknown stage' THEN 'stage' WHEN 'no instant' THEN 'changed_at' WHEN 'deleted' THEN 'is_deleted' ELSE 'opportunity_id' END AS problem_column,
  CASE problem WHEN 'unknown stage' THEN stage_text WHEN 'no instant' THEN trimmed(changed_at_found) WHEN 'orphan' THEN found_id END AS problem_value,
  CASE WHEN amount IS NULL THEN trimmed(amount_found) END AS bad_amount, CASE WHEN amount < 0 THEN trimmed(amount_found) END AS negative_amount,
  CASE WHEN crm_close_date IS NULL THEN trimmed(crm_close_date_found) END AS bad_crm_close_date,
  CASE WHEN probability_share BETWEEN 0 AND 1 THEN NULL ELSE trimmed(crm_probability_found) END AS bad_crm_probability,
  CASE WHEN change_id IS NULL THEN CONCAT_WS('|', COALESCE(stage_text, '-'), COALESCE(trimmed(amount_found), '-'), COALESCE(trimmed(crm_close_date_found), '-'), COALESCE(trimmed(crm_probability_found), '-'), COALESCE(owner_id, '-')) END AS content, CAST(1 AS BIGINT) AS version
FROM known
