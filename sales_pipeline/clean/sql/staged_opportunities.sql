-- raw_opportunities, parsed, with the state the stage or outcome says: one row per record
WITH parsed AS (
  SELECT r.source_file, r.source_record, v.exported_at,
    parse_id(r.opportunity_id, $id_style) AS opportunity_id, r.opportunity_id AS opportunity_id_text,
    COALESCE(CASE WHEN norm(r.kind) IN ('opportunity', 'lead') THEN norm(r.kind) END, $kind) AS kind,
    clean_text(r.pipeline) AS pipeline_text, parse_id(r.account_id, $id_style) AS account_id_found, parse_id(r.contact_id, $id_style) AS contact_id,
    parse_id(r.owner_id, $id_style) AS owner_id_found, parse_id(r.product_id, $id_style) AS product_id_found,
    clean_text(r.stage) AS stage_text, r.stage AS stage_raw, norm(r.stage) AS stage_key, norm(r.outcome) AS outcome_key,
    parse_flag(r.is_won) AS is_won, parse_flag(r.is_closed) AS is_closed,
    UPPER(clean_text(r.currency)) AS currency_text,
    parse_amount(r.amount, $decimal_sign) AS amount, trimmed(r.amount) AS amount_text, r.amount AS amount_raw,
    parse_day(r.crm_close_date, $date_order) AS crm_close_date, trimmed(r.crm_close_date) AS crm_close_date_text,
    parse_number(REPLACE(r.crm_probability, '%', ''), $decimal_sign) AS probability_number, trimmed(r.crm_probability) AS crm_probability_text,
    clean_text(r.lead_source) AS lead_source_text, clean_text(r.opportunity_type) AS opportunity_type_text,
    parse_instant(r.created_at, $date_order, $zone) AS created_at, trimmed(r.created_at) AS created_at_text,
    parse_instant(r.closed_at, $date_order, $zone) AS closed_at, trimmed(r.closed_at) AS closed_at_text,
    parse_instant(r.modified_at, $date_order, $zone) AS modified_at, trimmed(r.modified_at) AS modified_at_text,
    parse_id(r.converted_from_lead_id, $id_style) AS converted_from_lead_id,
    parse_id(r.converted_to_opportunity_id, $id_style) AS converted_to_opportunity_id,
    COALESCE(parse_flag(r.is_deleted), FALSE) AS is_deleted
  FROM raw_opportunities AS r LEFT JOIN sightings AS v ON v.source_file = r.source_file
), known AS (
  SELECT p.*, COALESCE(m.label, p.stage_text) AS stage,
    COALESCE(s1.value, p.pipeline_text) AS pipeline, COALESCE(s2.value, p.lead_source_text) AS lead_source,
    COALESCE(s3.value, p.opportunity_type_text) AS opportunity_type, COALESCE(s4.value, p.product_id_found) AS product_id,
    COALESCE(s5.value, p.account_id_found) AS account_id, COALESCE(s6.value, p.owner_id_found) AS owner_id,
    (s1.value IS NOT NULL OR s2.value IS NOT NULL OR s3.value IS NOT NULL OR s4.value IS NOT NULL OR s5.value IS NOT NULL OR s6.value IS NOT NULL) AS touched_spelling,
    CASE
      WHEN m.state IN ('won', 'lost') THEN m.state
      WHEN o.state IS NOT NULL THEN o.state
      WHEN m.state = 'open' THEN 'open'
      WHEN p.kind = 'lead' AND (p.is_won OR p.converted_to_opportunity_id IS NOT NULL) THEN 'won'
      WHEN p.kind = 'lead' AND REGEXP_MATCHES(p.stage_key, 'not converted|unqualified|disqualified|dead|junk|^closed') THEN 'lost'
      WHEN p.is_won THEN 'won'
      WHEN p.is_closed THEN 'lost'
      WHEN NOT p.is_closed THEN 'open'
      WHEN $has_outcome OR p.kind = 'lead' OR p.stage_key IS NULL THEN 'open'
    END AS state
  FROM parsed AS p
  LEFT JOIN stage_map AS m ON m.key = p.stage_key
  LEFT JOIN outcome_map AS o ON o.key = p.outcome_key
  LEFT JOIN spellings AS s1 ON s1.field = 'pipeline' AND s1.found = p.pipeline_text
  LEFT JOIN spellings AS s2 ON s2.field = 'lead_source' AND s2.found = p.lead_source_text
  LEFT JOIN spellings AS s3 ON s3.field = 'opportunity_type' AND s3.found = p.opportunity_type_text
  LEFT JOIN spellings AS s4 ON s4.field = 'product_id' AND s4.found = p.product_id_found
  LEFT JOIN spellings AS s5 ON s5.field = 'account_id' AND s5.found = p.account_id_found
  LEFT JOIN spellings AS s6 ON s6.field = 'owner_id' AND s6.found = p.owner_id_found
), judged AS (
  SELECT k.*, CASE WHEN opportunity_id IS NULL THEN 'missing key' WHEN state IS NULL THEN 'unknown stage' END AS problem,
    CASE WHEN REGEXP_MATCHES(currency_text, '^[A-Z]{3}\z') THEN currency_text ELSE $currency END AS currency,
    probability_number / $probability_scale AS probability_share,
    CASE WHEN closed_at >= created_at OR created_at IS NULL THEN closed_at END AS closed_at_usable
  FROM known AS k
)
SELECT source_file, source_record, exported_at, opportunity_id, kind, pipeline, account_id, contact_id, owner_id, product_id,
  stage, stage_key, state, currency, CASE WHEN amount >= 0 THEN amount END AS amount, crm_close_date,
  CASE WHEN probability_share BETWEEN 0 AND 1 THEN probability_share END AS crm_probability,
  lead_source, opportunity_type, created_at, closed_at_usable AS closed_at, modified_at, converted_from_lead_id, converted_to_opportunity_id, is_deleted,
  problem, CASE WHEN problem = 'unknown stage' THEN 'stage' ELSE 'opportunity_id' END AS problem_column,
  CASE WHEN problem = 'unknown stage' THEN stage_text END AS problem_value,
  CASE WHEN currency <> currency_text THEN currency_text END AS bad_currency,
  CASE WHEN amount IS NULL THEN amount_text END AS bad_amount, CASE WHEN amount < 0 THEN amount_text END AS negative_amount,
  CASE WHEN crm_close_date IS NULL THEN crm_close_date_text END AS bad_crm_close_date,
  CASE WHEN probability_share BETWEEN 0 AND 1 THEN NULL ELSE crm_probability_text END AS bad_crm_probability,
  CASE WHEN created_at IS NULL THEN created_at_text END AS bad_created_at,
  CASE WHEN closed_at IS NULL THEN closed_at_text END AS bad_closed_at,
  CASE WHEN closed_at IS NOT NULL AND closed_at_usable IS NULL THEN closed_at_text END AS early_closed_at,
  CASE WHEN modified_at IS NULL THEN modified_at_text END AS bad_modified_at,
  touched_spelling, opportunity_id <> opportunity_id_text AS touched_id, stage_text <> stage_raw AS touched_blanks,
  stage <> stage_text AS touched_stage_label, (stage_key IS NULL AND outcome_key IS NULL AND state = 'open') AS touched_no_stage,
  (amount IS NOT NULL AND NOT is_plain_number(amount_raw, '.')) AS touched_amount,
  CASE WHEN amount IS NOT NULL AND NOT is_plain_number(amount_raw, '.') THEN cjk_exponent(bare_number(amount_raw)) <> 'e0' END AS touched_amount_unit,
  crm_close_date < day_of(created_at) AS touched_close_before_creation, CAST(1 AS BIGINT) AS version
FROM judged
