"""Apply: the follow-up queue: which follow-ups are worth today's hours, for whom, and why the others are not."""
