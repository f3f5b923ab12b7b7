-- Changes of unmapped columns: those the history export records; for columns it does not track, what two exports in a row show
-- differently, dated by the record's last modification where that lies between them, else by the later export. A column that one of
-- the two exports does not hold at all shows nothing.
WITH cells AS (
  SELECT l.opportunity_id, l.number, l.exported_at, r.attribute, clean_text(r.value) AS value
  FROM raw_opportunity_attributes AS r
  JOIN attribute_looks AS l ON l.source_file = r.source_file AND l.source_record = r.source_record
  JOIN attribute_tracking AS t ON t.attribute = r.attribute AND NOT t.is_recorded
  WHERE clean_text(r.value) IS NOT NULL
), neighbours AS (
  SELECT opportunity_id, attribute, number, value,
    LAG(value) OVER (PARTITION BY opportunity_id, attribute ORDER BY number) AS previous_value,
    LAG(number) OVER (PARTITION BY opportunity_id, attribute ORDER BY number) AS previous_number,
    LEAD(number) OVER (PARTITION BY opportunity_id, attribute ORDER BY number) AS next_number
  FROM cells
), moves AS (
  SELECT opportunity_id, attribute, number, CASE WHEN previous_number = number - 1 THEN previous_value END AS old_value, value AS new_value
  FROM neighbours
  WHERE number > 1 AND (previous_number IS NULL OR previous_number < number - 1 OR LOWER(previous_value) <> LOWER(value))
  UNION ALL
  SELECT opportunity_id, attribute, number + 1 AS number, value AS old_value, CAST(NULL AS VARCHAR) AS new_value
  FROM neighbours
  WHERE next_number IS NULL OR next_number > number + 1
), seen AS (
  SELECT m.opportunity_id, m.attribute, m.old_value, m.new_value,
    CASE WHEN l.modified_at <= l.exported_at AND l.modified_at > l.previous_exported_at THEN l.modified_at ELSE l.exported_at END AS changed_at
  FROM moves AS m
  JOIN attribute_looks AS l ON l.opportunity_id = m.opportunity_id AND l.number = m.number
  JOIN attribute_sightings AS h ON h.attribute = m.attribute AND h.exported_at = l.exported_at AND h.is_filled
  JOIN attribute_sightings AS p ON p.attribute = m.attribute AND p.exported_at = l.previous_exported_at AND p.is_filled
), every AS (
  SELECT opportunity_id, attribute, changed_at, COALESCE(change_id, '') AS change_id, source_record, old_text AS old_value, new_text AS new_value
  FROM staged_field_history
  WHERE problem IS NULL AND version = 1 AND attribute IS NOT NULL
  UNION ALL
  SELECT opportunity_id, attribute, changed_at, '' AS change_id, CAST(0 AS BIGINT) AS source_record, old_value, new_value FROM seen
)
SELECT $source_system AS source_system, opportunity_id, attribute, changed_at,
  ROW_NUMBER() OVER (PARTITION BY opportunity_id, attribute, changed_at ORDER BY change_id, source_record) - 1 AS sequence,
  old_value, new_value
FROM every
