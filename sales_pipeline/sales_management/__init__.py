"""Apply, for those who plan and supervise: the revenue forecast, the team table, the account table. Reads scores and canonical tables, writes tables."""
