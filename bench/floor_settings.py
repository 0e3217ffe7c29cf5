"""The floor's Django settings: a project that has nothing of ours."""

import os

import dj_database_url

SECRET_KEY = "of the benchmark"
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"])}
USE_TZ = True
