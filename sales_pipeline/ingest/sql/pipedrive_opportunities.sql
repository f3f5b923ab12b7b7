-- Grain: one row per deal of a change log: what the log says last of each field. source_record is the record of its creation
-- (add_time), or its first record where the log does not say when it was created.
WITH last_values AS (
  SELECT
    source_file,
    opportunity_id,
    LOWER(field) AS field,
    latest(new_value, REPLACE(changed_at, 'T', ' ') || LPAD(CAST(source_record AS VARCHAR), 15, '0')) AS value,
    MAX(changed_at) AS changed_at
  FROM field_history
  WHERE opportunity_id IS NOT NULL AND field IS NOT NULL
  GROUP BY source_file, opportunity_id, LOWER(field)
), deals AS (
  SELECT
    source_file,
    opportunity_id,
    COALESCE(MIN(CASE WHEN LOWER(field) = 'add_time' THEN source_record END), MIN(source_record)) AS source_record,
    MIN(export_id) AS export_id,
    MIN(changed_at) AS first_at,
    MAX(changed_at) AS last_at
  FROM field_history
  WHERE opportunity_id IS NOT NULL AND field IS NOT NULL
  GROUP BY source_file, opportunity_id
), states AS (
  SELECT
    source_file,
    opportunity_id,
    MAX(CASE WHEN field = 'pipeline_id' THEN value END) AS pipeline,
    MAX(CASE WHEN field = 'org_id' THEN value END) AS account_id,
    MAX(CASE WHEN field = 'person_id' THEN value END) AS contact_id,
    MAX(CASE WHEN field = 'owner_id' THEN value END) AS owner_id,
    MAX(CASE WHEN field = 'stage' THEN value END) AS stage,
    MAX(CASE WHEN field = 'status' THEN LOWER(value) END) AS status,
    MAX(CASE WHEN field = 'currency' THEN value END) AS currency,
    MAX(CASE WHEN field = 'amount' THEN value END) AS amount,
    MAX(CASE WHEN field = 'crm_close_date' THEN value END) AS crm_close_date,
    MAX(CASE WHEN field = 'crm_probability' THEN value END) AS crm_probability,
    MAX(CASE WHEN field = 'add_time' THEN value END) AS created_at,
    MAX(CASE WHEN field = 'won_time' THEN value END) AS won_at,
    MAX(CASE WHEN field IN ('lost_time', 'close_time') THEN value END) AS lost_at,
    MAX(CASE WHEN field = 'lost_reason' AND value IS NOT NULL THEN changed_at END) AS given_up_at
  FROM last_values
  GROUP BY source_file, opportunity_id
)
SELECT
  d.source_file,
  d.source_record,
  d.export_id,
  d.opportunity_id,
  'opportunity' AS kind,
  s.pipeline,
  s.account_id,
  s.contact_id,
  s.owner_id,
  NULL AS product_id,
  s.stage,
  COALESCE(s.status, CASE WHEN s.won_at IS NOT NULL THEN 'won' WHEN s.lost_at IS NOT NULL OR s.given_up_at IS NOT NULL THEN 'lost' END) AS outcome,
  CASE WHEN s.status = 'won' OR (s.status IS NULL AND s.won_at IS NOT NULL) THEN 'true' ELSE 'false' END AS is_won,
  CASE
    WHEN s.status IN ('won', 'lost') THEN 'true'
    WHEN s.status IS NULL AND (s.won_at IS NOT NULL OR s.lost_at IS NOT NULL OR s.given_up_at IS NOT NULL) THEN 'true'
    ELSE 'false'
  END AS is_closed,
  s.currency,
  s.amount,
  s.crm_close_date,
  s.crm_probability,
  NULL AS lead_source,
  NULL AS opportunity_type,
  COALESCE(s.created_at, d.first_at) AS created_at,
  COALESCE(s.won_at, s.lost_at, s.given_up_at) AS closed_at,
  d.last_at AS modified_at,
  NULL AS converted_from_lead_id,
  NULL AS converted_to_opportunity_id,
  NULL AS is_deleted
FROM deals AS d
JOIN states AS s ON s.source_file = d.source_file AND s.opportunity_id = d.opportunity_id
