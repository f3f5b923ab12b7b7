-- raw_owners, parsed: one row per record
WITH parsed AS (
  SELECT r.source_file, r.source_record, v.exported_at,
    parse_id(r.owner_id, $id_style) AS owner_id, r.owner_id AS owner_id_text, clean_text(r.team) AS team_text,
    parse_id(r.manager_id, $id_style) AS manager_id, parse_flag(r.is_active) AS is_active, trimmed(r.is_active) AS is_active_text,
    trimmed(r.country) AS country, trimmed(r.time_zone) AS time_zone,
    parse_number(r.capacity_minutes, $decimal_sign) AS capacity_number, trimmed(r.capacity_minutes) AS capacity_text,
    parse_instant(r.modified_at, $date_order, $zone) AS modified_at, trimmed(r.modified_at) AS modified_at_text,
    COALESCE(parse_flag(r.is_deleted), FALSE) AS is_deleted
  FROM raw_owners AS r LEFT JOIN sightings AS v ON v.source_file = r.source_file
), spelled AS (
  SELECT p.*,
    CASE WHEN p.capacity_number >= 0 AND p.capacity_number <= 1440 THEN CAST(ROUND(p.capacity_number, 0) AS BIGINT) END AS capacity_minutes,
    COALESCE(s1.value, p.team_text) AS team, s1.value IS NOT NULL AS touched_spelling,
    CASE WHEN p.owner_id IS NULL THEN 'missing key' END AS problem
  FROM parsed AS p
  LEFT JOIN spellings AS s1 ON s1.field = 'team' AND s1.found = p.team_text
)
SELECT source_file, source_record, exported_at, owner_id, team, manager_id, is_active, country, time_zone, capacity_minutes, modified_at, is_deleted,
  problem, 'owner_id' AS problem_column, CAST(NULL AS VARCHAR) AS problem_value,
  CASE WHEN is_active IS NULL THEN is_active_text END AS bad_is_active,
  CASE WHEN capacity_minutes IS NULL THEN capacity_text END AS bad_capacity_minutes,
  CASE WHEN modified_at IS NULL THEN modified_at_text END AS bad_modified_at,
  touched_spelling, owner_id <> owner_id_text AS touched_id, CAST(1 AS BIGINT) AS version
FROM spelled
