-- raw_activities, parsed: done and planned ones, one row per record; the words most exports come with are taken as they are
WITH parsed AS (
  SELECT r.source_file, r.source_record, v.exported_at,
    parse_id(r.activity_id, $id_style) AS activity_id, parse_id(r.opportunity_id, $id_style) AS what_id, parse_id(r.account_id, $id_style) AS account_id_found,
    parse_id(r.contact_id, $id_style) AS contact_id, parse_id(r.owner_id, $id_style) AS owner_id,
    trimmed(r.queue_id) AS queue_id,
    CASE WHEN r.kind IN ('call', 'email', 'meeting', 'task') THEN r.kind ELSE norm(r.kind) END AS kind_key,
    CASE WHEN r.direction IN ('inbound', 'outbound') THEN r.direction ELSE norm(r.direction) END AS direction_key,
    CASE WHEN r.is_done IN ('true', 'false') THEN r.is_done ELSE norm(r.is_done) END AS done_key,
    parse_instant(r.occurred_at, $date_order, $zone) AS occurred_at, r.occurred_at AS occurred_at_found,
    parse_instant(r.due_at, $date_order, $zone) AS due_at, r.due_at AS due_at_found,
    parse_instant(r.logged_at, $date_order, $zone) AS logged_at, r.logged_at AS logged_at_found,
    parse_instant(r.modified_at, $date_order, $zone) AS modified_at, r.modified_at AS modified_at_found,
    COALESCE(parse_flag(r.is_deleted), FALSE) AS is_deleted
  FROM raw_activities AS r LEFT JOIN sightings AS v ON v.source_file = r.source_file
), worded AS (
  SELECT p.*,
    CASE WHEN occurred_at IS NULL THEN trimmed(occurred_at_found) END AS bad_occurred_at,
    CASE WHEN due_at IS NULL THEN trimmed(due_at_found) END AS bad_due_at,
    CASE WHEN logged_at IS NULL THEN trimmed(logged_at_found) END AS bad_logged_at,
    CASE WHEN modified_at IS NULL THEN trimmed(modified_at_found) END AS bad_modified_at,
    CASE
      WHEN kind_key LIKE '%call%' OR kind_key LIKE '%phone%' THEN 'call'
      WHEN kind_key LIKE '%mail%' THEN 'email'
      WHEN kind_key LIKE '%meeting%' OR kind_key LIKE '%event%' OR kind_key LIKE '%visit%' OR kind_key LIKE '%demo%' THEN 'meeting'
      WHEN kind_key LIKE '%note%' THEN 'note'
      WHEN kind_key LIKE '%task%' OR kind_key LIKE '%to do%' OR kind_key LIKE '%to-do%' THEN 'task'
      ELSE 'other'
    END AS kind,
    CASE WHEN direction_key LIKE 'in%' THEN 'inbound' WHEN direction_key LIKE 'out%' THEN 'outbound' END AS direction,
    CASE
      WHEN done_key IN ('true', '1', 'yes', 'y') OR done_key IN ('completed', 'complete', 'done', 'closed') OR done_key IN ('held', 'finished') THEN TRUE
      WHEN done_key IS NOT NULL THEN FALSE
      ELSE COALESCE(occurred_at <= exported_at, FALSE)
    END AS is_done
  FROM parsed AS p
), placed AS (
  SELECT w.*, k.opportunity_id AS what_opportunity_id, k.account_id AS what_account_id, l.opportunity_id AS who_opportunity_id,
    a.account_id AS account_of_what, b.account_id AS account_found,
    CASE WHEN is_done THEN COALESCE(w.occurred_at, w.due_at, w.logged_at) END AS happened_at,
    CASE WHEN w.activity_id IS NULL THEN 'missing key' WHEN w.is_deleted THEN 'deleted'
      WHEN w.is_done AND COALESCE(w.occurred_at, w.due_at, w.logged_at) IS NULL THEN 'no instant' END AS problem
  FROM worded AS w
  LEFT JOIN opportunity_keys AS k ON k.found_id = w.what_id
  LEFT JOIN accounts AS a ON a.account_id = w.what_id
  LEFT JOIN opportunity_keys AS l ON l.found_id = w.contact_id
  LEFT JOIN accounts AS b ON b.account_id = w.account_id_found
)
SELECT source_file, source_record, exported_at, activity_id, COALESCE(what_opportunity_id, who_opportunity_id) AS opportunity_id,
  CASE WHEN $has_accounts THEN COALESCE(account_found, account_of_what, what_account_id) ELSE COALESCE(account_id_found, what_account_id) END AS account_id,
  CASE WHEN who_opportunity_id IS NULL THEN contact_id END AS contact_id,
  owner_id, kind, direction, queue_id, is_done, happened_at AS occurred_at, COALESCE(logged_at, happened_at) AS logged_at,
  CASE WHEN NOT is_done THEN COALESCE(due_at, occurred_at) END AS due_at, modified_at, is_deleted,
  problem, CASE problem WHEN 'no instant' THEN 'occurred_at' WHEN 'deleted' THEN 'is_deleted' ELSE 'activity_id' END AS problem_column,
  CASE WHEN problem = 'no instant' THEN COALESCE(bad_occurred_at, bad_due_at, bad_logged_at) END AS problem_value,
  CASE WHEN what_id IS NOT NULL AND what_opportunity_id IS NULL AND account_of_what IS NULL THEN what_id END AS orphan_opportunity_id,
  CASE WHEN $has_accounts AND account_id_found IS NOT NULL AND account_found IS NULL THEN account_id_found END AS orphan_account_id,
  bad_occurred_at, bad_due_at, bad_logged_at, bad_modified_at, CAST(1 AS BIGINT) AS version
FROM placed
