"""What the API says about itself."""

from django.http import HttpRequest
from ninja import Router, Schema

from notifications.api import problems
from notifications.api.problems import Problem

problem_router = Router()


class ProblemKind(Schema):
    """What a problem's ``type`` stands for."""

    type: str
    status: int
    title: str


@problem_router.get("/{name}", response=ProblemKind, summary="What a problem type means")
def get_problem(request: HttpRequest, name: str) -> ProblemKind:
    """Explain a problem's ``type``, which is the address of this page."""
    kind = problems.KINDS.get(name)
    if kind is None:
        raise Problem("not-found", f"There is no problem {name!r}.")
    return ProblemKind(type=problems.PATH + name, status=kind.status, title=kind.title)
