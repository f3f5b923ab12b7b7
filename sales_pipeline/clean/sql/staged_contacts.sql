-- raw_contacts, parsed: one row per record
WITH parsed AS (
  SELECT r.source_file, r.source_record, v.exported_at,
    parse_id(r.contact_id, $id_style) AS contact_id, r.contact_id AS contact_id_text, parse_id(r.account_id, $id_style) AS account_id,
    parse_flag(r.email_opt_out) AS email_opt_out, parse_flag(r.do_not_call) AS do_not_call,
    parse_flag(r.email_allowed) AS email_allowed_flag, parse_flag(r.call_allowed) AS call_allowed_flag,
    trimmed(r.email_opt_out) AS email_opt_out_text, trimmed(r.do_not_call) AS do_not_call_text,
    trimmed(r.email_allowed) AS email_allowed_text, trimmed(r.call_allowed) AS call_allowed_text,
    parse_instant(r.created_at, $date_order, $zone) AS created_at, trimmed(r.created_at) AS created_at_text,
    parse_instant(r.modified_at, $date_order, $zone) AS modified_at, trimmed(r.modified_at) AS modified_at_text,
    COALESCE(parse_flag(r.is_deleted), FALSE) AS is_deleted
  FROM raw_contacts AS r LEFT JOIN sightings AS v ON v.source_file = r.source_file
), judged AS (
  -- a word that is neither yes nor no stands for "no": a consent is never guessed
  SELECT p.*,
    CASE WHEN email_opt_out OR (email_opt_out IS NULL AND email_opt_out_text IS NOT NULL) THEN FALSE
      WHEN email_allowed_text IS NOT NULL THEN COALESCE(email_allowed_flag, FALSE)
      WHEN NOT email_opt_out THEN TRUE END AS email_allowed,
    CASE WHEN do_not_call OR (do_not_call IS NULL AND do_not_call_text IS NOT NULL) THEN FALSE
      WHEN call_allowed_text IS NOT NULL THEN COALESCE(call_allowed_flag, FALSE)
      WHEN NOT do_not_call THEN TRUE END AS call_allowed,
    CASE WHEN contact_id IS NULL THEN 'missing key' END AS problem
  FROM parsed AS p
)
SELECT source_file, source_record, exported_at, contact_id, account_id, email_allowed, call_allowed, created_at, modified_at, is_deleted,
  problem, 'contact_id' AS problem_column, CAST(NULL AS VARCHAR) AS problem_value,
  CASE WHEN email_opt_out IS NULL AND email_opt_out_text IS NOT NULL THEN email_opt_out_text
    WHEN email_allowed_flag IS NULL THEN email_allowed_text END AS bad_email_allowed,
  CASE WHEN do_not_call IS NULL AND do_not_call_text IS NOT NULL THEN do_not_call_text
    WHEN call_allowed_flag IS NULL THEN call_allowed_text END AS bad_call_allowed,
  CASE WHEN created_at IS NULL THEN created_at_text END AS bad_created_at,
  CASE WHEN modified_at IS NULL THEN modified_at_text END AS bad_modified_at,
  contact_id <> contact_id_text AS touched_id, CAST(1 AS BIGINT) AS version
FROM judged
