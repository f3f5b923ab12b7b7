-- of each field how many states of the history show it
SELECT COUNT(stage) AS stage, COUNT(amount) AS amount, COUNT(crm_close_date) AS crm_close_date, COUNT(crm_probability) AS crm_probability, COUNT(owner_id) AS owner_id
FROM staged_state_history WHERE problem IS NULL AND version = 1
