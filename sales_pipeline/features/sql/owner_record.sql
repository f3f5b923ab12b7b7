-- Family owner_record: what the owner at the as-of had closed, and has open (this one included), strictly before it.
SELECT
  s.opportunity_id,
  s.as_of,
  shrunken(r.won_count, r.closed_count, a.win_rate, $owner_prior_weight) AS owner_win_rate,
  r.closed_count AS owner_closed_count,
  r.open_count AS owner_open_count,
  o.team AS owner_team
FROM spine AS s
LEFT JOIN owner_counts AS r ON r.owner_id = s.owner_id AND r.as_of = s.as_of
LEFT JOIN overall_record AS a ON a.as_of = s.as_of
LEFT JOIN owners AS o ON o.owner_id = s.owner_id
