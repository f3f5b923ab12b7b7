-- unmapped columns whose changes are known, and from when on: from the first change a history export shows, else from the first of the
-- exports that hold the column, where at least two do
WITH recorded AS (
  SELECT attribute, MIN(changed_at) AS tracked_from FROM staged_field_history
  WHERE problem IS NULL AND version = 1 AND attribute IS NOT NULL GROUP BY attribute
), compared AS (
  SELECT r.attribute, MIN(l.exported_at) AS tracked_from
  FROM raw_opportunity_attributes AS r
  JOIN attribute_looks AS l ON l.source_file = r.source_file AND l.source_record = r.source_record
  GROUP BY r.attribute HAVING COUNT(DISTINCT l.exported_at) > 1
)
SELECT attribute, tracked_from, TRUE AS is_recorded FROM recorded
UNION ALL
SELECT c.attribute, c.tracked_from, FALSE AS is_recorded
FROM compared AS c LEFT JOIN recorded AS r ON r.attribute = c.attribute WHERE r.attribute IS NULL
