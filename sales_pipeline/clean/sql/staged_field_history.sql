-- raw_field_history, parsed: one field before and after an instant, one row per record; `attribute` where the field is an unmapped column
WITH parsed AS (
  SELECT r.source_file, r.source_record, v.exported_at, clean_text(r.change_id) AS change_id,
    parse_id(r.opportunity_id, $id_style) AS found_id,
    parse_instant(r.changed_at, $date_order, $zone) AS changed_at, trimmed(r.changed_at) AS changed_at_text,
    norm(r.field) AS field, clean_text(r.old_value) AS old_text, clean_text(r.new_value) AS new_text,
    COALESCE(parse_flag(r.is_deleted), FALSE) AS is_deleted
  FROM raw_field_history AS r LEFT JOIN sightings AS v ON v.source_file = r.source_file
), known AS (
  SELECT p.*, k.opportunity_id,
    (p.field IN ('stage', 'amount') OR p.field IN ('crm_close_date', 'crm_probability', 'owner_id')) AS is_tracked, n.attribute,
    CASE WHEN p.field = 'stage' THEN COALESCE(mn.label, p.new_text) END AS new_stage,
    CASE WHEN p.field = 'stage' THEN COALESCE(mn.state, CASE WHEN NOT $stages_are_listed OR p.new_text IS NULL THEN 'open' END) END AS new_state,
    CASE WHEN p.field = 'stage' THEN COALESCE(mo.label, p.old_text) END AS old_stage,
    CASE WHEN p.field = 'stage' THEN COALESCE(mo.state, 'open') END AS old_state,
    CASE WHEN p.field = 'amount' THEN parse_amount(p.new_text, $decimal_sign) END AS new_amount,
    CASE WHEN p.field = 'amount' THEN parse_amount(p.old_text, $decimal_sign) END AS old_amount,
    CASE WHEN p.field = 'crm_close_date' THEN parse_day(p.new_text, $date_order) END AS new_close_date,
    CASE WHEN p.field = 'crm_close_date' THEN parse_day(p.old_text, $date_order) END AS old_close_date,
    CASE WHEN p.field = 'crm_probability' THEN parse_number(REPLACE(p.new_text, '%', ''), $decimal_sign) / $probability_scale END AS new_share,
    CASE WHEN p.field = 'crm_probability' THEN parse_number(REPLACE(p.old_text, '%', ''), $decimal_sign) / $probability_scale END AS old_share,
    CASE WHEN p.field = 'owner_id' THEN parse_id(p.new_text, $id_style) END AS new_owner_id,
    CASE WHEN p.field = 'owner_id' THEN parse_id(p.old_text, $id_style) END AS old_owner_id
  FROM parsed AS p
  LEFT JOIN attribute_names AS n ON n.key = REGEXP_REPLACE(p.field, '[^a-z0-9]', '', 'g')
  LEFT JOIN opportunity_keys AS k ON k.found_id = p.found_id
  LEFT JOIN stage_map AS mn ON mn.key = LOWER(p.new_text)
  LEFT JOIN stage_map AS mo ON mo.key = LOWER(p.old_text)
), judged AS (
  SELECT k.*,
    CASE
      WHEN found_id IS NULL THEN 'missing key'
      WHEN is_deleted THEN 'deleted'
      WHEN changed_at IS NULL THEN 'no instant'
      WHEN opportunity_id IS NULL THEN 'orphan'
      WHEN field = 'stage' AND new_state IS NULL THEN 'unknown stage'
      WHEN field IS NULL OR NOT (is_tracked OR attribute IS NOT NULL) THEN 'other field'
    END AS problem,
    CASE field WHEN 'amount' THEN new_amount IS NULL WHEN 'crm_close_date' THEN new_close_date IS NULL
      WHEN 'crm_probability' THEN NOT COALESCE(new_share BETWEEN 0 AND 1, FALSE) ELSE FALSE END AND new_text IS NOT NULL AS is_unreadable
  FROM known AS k
)
SELECT source_file, source_record, exported_at, opportunity_id, changed_at, change_id, field,
  new_stage, new_state, old_stage, old_state, CASE WHEN new_amount >= 0 THEN new_amount END AS new_amount, CASE WHEN old_amount >= 0 THEN old_amount END AS old_amount, new_close_date, old_close_date,
  CASE WHEN new_share BETWEEN 0 AND 1 THEN new_share END AS new_probability, CASE WHEN old_share BETWEEN 0 AND 1 THEN old_share END AS old_probability,
  new_owner_id, old_owner_id, CASE WHEN NOT is_tracked THEN attribute END AS attribute,
  CASE WHEN NOT is_tracked THEN old_text END AS old_text, CASE WHEN NOT is_tracked THEN new_text END AS new_text, problem,
  CASE problem WHEN 'unknown stage' THEN 'stage' WHEN 'no instant' THEN 'changed_at' WHEN 'deleted' THEN 'is_deleted' WHEN 'other field' THEN 'field' ELSE 'opportunity_id' END AS problem_column,
  CASE problem WHEN 'unknown stage' THEN new_text WHEN 'no instant' THEN changed_at_text WHEN 'orphan' THEN found_id WHEN 'other field' THEN field END AS problem_value,
  CASE WHEN is_unreadable AND field = 'amount' THEN new_text END AS bad_amount, CASE WHEN new_amount < 0 THEN new_text END AS negative_amount,
  CASE WHEN is_unreadable AND field = 'crm_close_date' THEN new_text END AS bad_crm_close_date,
  CASE WHEN is_unreadable AND field = 'crm_probability' THEN new_text END AS bad_crm_probability,
  CASE WHEN change_id IS NULL THEN CONCAT_WS('|', COALESCE(old_text, '-'), COALESCE(new_text, '-')) END AS content, CAST(1 AS BIGINT) AS version
FROM judged
