-- The attributes of the opportunities on the spine.
SELECT a.*
FROM opportunity_attributes AS a
WHERE a.opportunity_id IN (SELECT s.opportunity_id FROM spine AS s)
