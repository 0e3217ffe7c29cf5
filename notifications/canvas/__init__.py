"""What Celery's callers expect beside a send: links and chords, results, revoking."""
