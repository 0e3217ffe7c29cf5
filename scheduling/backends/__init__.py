"""The backends: the database, a Redis, or this process' memory; ``chosen_backend`` picks one."""
