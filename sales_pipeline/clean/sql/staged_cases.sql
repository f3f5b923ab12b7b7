-- raw_cases, parsed: one row per record
WITH parsed AS (
  SELECT r.source_file, r.source_record, v.exported_at, parse_id(r.case_id, $id_style) AS case_id, parse_id(r.account_id, $id_style) AS account_id_found,
    parse_instant(r.opened_at, $date_order, $zone) AS opened_at, trimmed(r.opened_at) AS opened_at_text,
    parse_instant(r.closed_at, $date_order, $zone) AS closed_at, trimmed(r.closed_at) AS closed_at_text,
    parse_number(r.score, $decimal_sign) AS score, trimmed(r.score) AS score_text,
    parse_instant(r.modified_at, $date_order, $zone) AS modified_at, trimmed(r.modified_at) AS modified_at_text,
    COALESCE(parse_flag(r.is_deleted), FALSE) AS is_deleted
  FROM raw_cases AS r LEFT JOIN sightings AS v ON v.source_file = r.source_file
), placed AS (
  SELECT p.*, CASE WHEN a.account_id IS NOT NULL OR NOT $has_accounts THEN p.account_id_found END AS account_id,
    CASE WHEN p.case_id IS NULL THEN 'missing key' WHEN p.is_deleted THEN 'deleted' END AS problem
  FROM parsed AS p LEFT JOIN accounts AS a ON a.account_id = p.account_id_found
)
SELECT source_file, source_record, exported_at, case_id, account_id, opened_at,
  CASE WHEN closed_at >= opened_at OR opened_at IS NULL THEN closed_at END AS closed_at, score, modified_at, problem,
  CASE problem WHEN 'deleted' THEN 'is_deleted' ELSE 'case_id' END AS problem_column, CAST(NULL AS VARCHAR) AS problem_value,
  CASE WHEN account_id IS NULL THEN account_id_found END AS orphan_account_id,
  CASE WHEN opened_at IS NULL THEN opened_at_text END AS bad_opened_at, CASE WHEN closed_at IS NULL THEN closed_at_text END AS bad_closed_at,
  CASE WHEN closed_at < opened_at THEN closed_at_text END AS early_closed_at,
  CASE WHEN score IS NULL THEN score_text END AS bad_score, CASE WHEN modified_at IS NULL THEN modified_at_text END AS bad_modified_at, CAST(1 AS BIGINT) AS version
FROM placed
