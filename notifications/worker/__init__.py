"""How a Celery worker runs under our promises: its consumer, transports, queues and shutdown."""
