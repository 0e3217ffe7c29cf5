"""Tasks of Django's, as a project writes them."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django

if TYPE_CHECKING or django.VERSION >= (6, 0):
    from django.tasks import TaskContext, task
else:
    from django_tasks import TaskContext, task

RUNS = "TASKS_TEST_RUNS"
"""The environment variable that names the file to which each call of ``tell`` adds a line."""


@task
def add(first: int, second: int) -> int:
    return first + second


@task(takes_context=True)
def tell(context: "TaskContext[..., Any]", text: str) -> str:
    said = f"{text} {context.task_result.id} {context.attempt}"
    with Path(os.environ[RUNS]).open("a") as file:
        file.write(f"{said}\n")
    return said


@task(queue_name="email.high")
async def elsewhere() -> str:
    return "in another queue"


@task
def fail() -> None:
    raise ValueError("this task always fails")
