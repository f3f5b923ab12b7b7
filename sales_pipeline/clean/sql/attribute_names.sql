-- the unmapped columns by their letters and digits alone, as a history names them; names that come to the same stand for none
WITH names AS (
  SELECT attribute FROM raw_opportunity_attributes GROUP BY attribute
)
SELECT REGEXP_REPLACE(LOWER(attribute), '[^a-z0-9]', '', 'g') AS key, MIN(attribute) AS attribute
FROM names
GROUP BY REGEXP_REPLACE(LOWER(attribute), '[^a-z0-9]', '', 'g')
HAVING COUNT(*) = 1
