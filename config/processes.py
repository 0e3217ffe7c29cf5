"""The system's processes, as ``make up``, docker-compose.yml and the acceptance tests start them.

They need no flags: settings choose queues and scheduler, GRANIAN_HOST, GRANIAN_PORT,
FLOWER_ADDRESS and FLOWER_PORT where they listen.
"""

WEB = ("granian", "--interface", "wsgi", "config.wsgi:application")
WORKER = ("celery", "-A", "config", "worker")
BEAT = ("celery", "-A", "config", "beat")
FLOWER = ("celery", "-A", "config", "flower")
