-- unmapped columns whose changes are known, and from when on: from the first change a history export shows, else from the first of the
-- exports that hold the column, where at least two do
WITH compared AS (
  SELECT attribute, MIN(exported_at) AS tracked_from FROM attribute_sightings GROUP BY attribute HAVING COUNT(*) > 1
)
SELECT attribute, tracked_from, TRUE AS is_recorded FROM attribute_records
UNION ALL
SELECT c.attribute, c.tracked_from, FALSE AS is_recorded
FROM compared AS c LEFT JOIN attribute_records AS r ON r.attribute = c.attribute WHERE r.attribute IS NULL
