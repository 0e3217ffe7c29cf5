"""What a fuzzer asks beside schemathesis's own checks: the document is its one list of exceptions.

A request that fits its schema is refused with 422 only for what the operation lists in
``x-problems``: that type of problem, at that place of the request. The shorter form of the test
takes of what the schemas lead to one case of each kind, on each operation.
"""

import re
from typing import Any

import schemathesis
from schemathesis.generation.meta import CoveragePhaseData

from tests.thorough import THOROUGH

_taken: set[tuple[object, ...]] = set()


@schemathesis.hook
def filter_case(_: schemathesis.HookContext, case: "schemathesis.Case[Any]") -> bool:
    """Take the first case of each kind: what is wrong or on the edge, in which part of it."""
    if THOROUGH or case.meta is None or not isinstance(case.meta.phase.data, CoveragePhaseData):
        return True
    data = case.meta.phase.data
    kind = (case.operation.label, data.scenario, data.parameter_location, case.media_type)
    is_new = kind not in _taken
    _taken.add(kind)
    return is_new


@schemathesis.check
def refused_as_documented(
    _: schemathesis.CheckContext, response: schemathesis.Response, case: "schemathesis.Case[Any]"
) -> None:
    if response.status_code != 422 or case.meta is None or case.meta.generation.mode.is_negative:
        return
    problem = response.json()
    responses = case.operation.definition.raw["responses"]
    listed = responses["422"].get("x-problems", [])
    of_type = [entry["field"] for entry in listed if entry["type"] == problem["type"]]
    faults = [problem.get("field", ""), *(error["field"] for error in problem.get("errors", ()))]
    anywhere = [entry["field"] for entry in listed]
    if not _is_at(faults[0], of_type) or not all(_is_at(fault, anywhere) for fault in faults):
        said = {name: problem.get(name) for name in ("type", "field", "detail", "errors")}
        raise AssertionError(f"Allowed by the document, and refused: {said}")


def _is_at(field: str, places: list[str]) -> bool:
    """Tell whether a field is at one of the places.

    ``*`` is one part of a path and ``**`` several; a name that a caller gave may be empty.
    """
    return any(re.fullmatch(_pattern(place), field, re.DOTALL) for place in places)


def _pattern(place: str) -> str:
    parts = re.split(r"(\*\*|\*)", place)
    return "".join({"**": ".*", "*": "[^.]*"}.get(part, re.escape(part)) for part in parts)
