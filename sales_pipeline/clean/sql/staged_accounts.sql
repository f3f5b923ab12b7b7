-- raw_accounts, parsed: one row per record; version 1 is the record that is kept of a key
WITH parsed AS (
  SELECT r.source_file, r.source_record, v.exported_at,
    parse_id(r.account_id, $id_style) AS account_id, r.account_id AS account_id_text,
    clean_text(r.industry) AS industry_text, clean_text(r.country) AS country_text, clean_text(r.account_type) AS account_type_text,
    parse_number(r.employees, $decimal_sign) AS employees_number, trimmed(r.employees) AS employees_text,
    parse_number(r.annual_revenue, $decimal_sign) AS annual_revenue, trimmed(r.annual_revenue) AS annual_revenue_text,
    parse_id(r.parent_account_id, $id_style) AS parent_account_id, parse_id(r.owner_id, $id_style) AS owner_id,
    parse_instant(r.created_at, $date_order, $zone) AS created_at, trimmed(r.created_at) AS created_at_text,
    parse_instant(r.modified_at, $date_order, $zone) AS modified_at, trimmed(r.modified_at) AS modified_at_text,
    COALESCE(parse_flag(r.is_deleted), FALSE) AS is_deleted
  FROM raw_accounts AS r LEFT JOIN sightings AS v ON v.source_file = r.source_file
), spelled AS (
  SELECT p.*, COALESCE(s1.value, p.industry_text) AS industry, COALESCE(s2.value, p.country_text) AS country,
    COALESCE(s3.value, p.account_type_text) AS account_type,
    (s1.value IS NOT NULL OR s2.value IS NOT NULL OR s3.value IS NOT NULL) AS touched_spelling,
    CASE WHEN p.employees_number >= 0 AND p.employees_number < 100000000 THEN CAST(ROUND(p.employees_number, 0) AS BIGINT) END AS employees,
    CASE WHEN p.account_id IS NULL THEN 'missing key' END AS problem
  FROM parsed AS p
  LEFT JOIN spellings AS s1 ON s1.field = 'industry' AND s1.found = p.industry_text
  LEFT JOIN spellings AS s2 ON s2.field = 'country' AND s2.found = p.country_text
  LEFT JOIN spellings AS s3 ON s3.field = 'account_type' AND s3.found = p.account_type_text
)
SELECT source_file, source_record, exported_at, account_id, industry, country, account_type, employees, annual_revenue,
  parent_account_id, owner_id, created_at, modified_at, is_deleted,
  problem, 'account_id' AS problem_column, CAST(NULL AS VARCHAR) AS problem_value,
  CASE WHEN employees IS NULL THEN employees_text END AS bad_employees,
  CASE WHEN annual_revenue IS NULL THEN annual_revenue_text END AS bad_annual_revenue,
  CASE WHEN created_at IS NULL THEN created_at_text END AS bad_created_at,
  CASE WHEN modified_at IS NULL THEN modified_at_text END AS bad_modified_at,
  touched_spelling, account_id <> account_id_text AS touched_id, CAST(1 AS BIGINT) AS version
FROM spelled
