"""The system's processes, as ``make up``, docker-compose.yml and the acceptance tests start them.

They need no flags: settings choose queues and scheduler, GRANIAN_HOST, GRANIAN_PORT,
FLOWER_ADDRESS, FLOWER_PORT, SMTP_SERVER_HOST and SMTP_SERVER_PORT where they listen.
"""

WEB = ("granian", "--interface", "wsgi", "config.wsgi:application")
WORKER = ("celery", "-A", "config", "worker")
BEAT = ("celery", "-A", "config", "beat")
SMTP = ("python", "-m", "config.command", "smtp_server")
FLOWER = ("celery", "-A", "config", "flower")
