-- unmapped columns of which a history export shows changes, and the first of these
SELECT attribute, MIN(changed_at) AS tracked_from FROM staged_field_history
WHERE problem IS NULL AND version = 1 AND attribute IS NOT NULL GROUP BY attribute
