-- the unmapped columns by their letters and digits alone, as a history names them; names that come to the same stand for none
SELECT REGEXP_REPLACE(LOWER(attribute), '[^a-z0-9]', '', 'g') AS key, MIN(attribute) AS attribute
FROM attributes
GROUP BY REGEXP_REPLACE(LOWER(attribute), '[^a-z0-9]', '', 'g')
HAVING COUNT(*) = 1
