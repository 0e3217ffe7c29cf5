"""What schemathesis tries, and a check of what its document allows: refused only beyond schemas.

The check is made where ``FUZZ_EXAMPLES`` asks for a budget of one's own: FUZZ_EXAMPLES=20 make test
ARGS=…
"""

import os
import re
from collections import Counter, defaultdict
from typing import Any

import schemathesis
from schemathesis.generation.meta import CoveragePhaseData

from tests.thorough import THOROUGH

# The type of a problem, the field that it names, and its detail.
BEYOND_A_SCHEMA = re.compile(
    # What is stored: templates, categories, recipients, accounts; and the channel of a template.
    "(unknown-template|unknown-category|unknown-recipient|unknown-chain|no-provider) at .*"
    "|missing-content at steps.*"  # of a chain: what its family of templates lacks
    "|invalid-field at (late_)?template: .*"
    "|invalid-request at version: There is no version .*"
    "|invalid-context at context: Template .* needs .*"
    "|invalid-template at .*: .*(content has no part|It needs) .*"
    "|[a-z-]+ at digest.*"  # what the digest's template takes
    # Of a change: the policy that the job has.
    "|invalid-job at (concurrency_key|unique_key|unique_seconds): .*"
    # The language of expressions, what a task takes, and a character that no database keeps.
    "|invalid-field at (condition|recipients|to|match|cancel_match|context)\\b.*"
    "|invalid-job at (kw)?args.*"
    "|[a-z-]+ at .*: .*a character that cannot be stored.*"
    # The present time, and the tables of phone numbers and domains.
    "|invalid-time at .*"
    "|invalid-job at (since|until): .*"
    "|malformed-recipient at .*"
    # A text that another answer gave out, two places of one key, a table within a text.
    "|invalid-request at cursor: .*"
    "|invalid-request at (idempotency_)?key: The header and the body name different .*"
    "|invalid-request at : The CSV cannot be read.*",
    re.DOTALL,
)

# Operations whose bodies are a language of their own, which the document leaves to the answer.
IN_WORDS = {
    *("save_chain", "start_chain", "save_audience", "preview_audience", "preview_filter"),
    *("save_throttle", "change_window", "save_window", "create_event_rule", "change_event_rule"),
}

EACH = 3
_kinds: defaultdict[str, set[Any]] = defaultdict(set)  # tried so far, by operation
_more: Counter[str] = Counter()


@schemathesis.hook
def filter_case(_: schemathesis.HookContext, case: "schemathesis.Case[Any]") -> bool:
    """Take of each fault and each bound at each place one, and of all further ones each third."""
    if THOROUGH or case.meta is None or not isinstance(case.meta.phase.data, CoveragePhaseData):
        return True
    data, operation = case.meta.phase.data, case.operation.label
    kind = (case.method, data.scenario, data.parameter, data.parameter_location, data.description)
    if kind not in _kinds[operation]:
        _kinds[operation].add(kind)
        return True
    _more[operation] += 1
    return _more[operation] % EACH == 0


@schemathesis.check
def refused_for_what_no_schema_says(
    _: schemathesis.CheckContext, response: schemathesis.Response, case: "schemathesis.Case[Any]"
) -> None:
    if response.status_code != 422 or case.meta is None or case.meta.generation.mode.is_negative:
        return
    if "FUZZ_EXAMPLES" not in os.environ:
        return
    if case.operation.definition.raw["operationId"] in IN_WORDS:
        return
    problem = response.json()
    kind, field = problem["type"].rpartition("/")[2], problem.get("field", "")
    said = f"{kind} at {field}: {problem.get('detail')}"
    if not BEYOND_A_SCHEMA.fullmatch(said):
        raise AssertionError(f"Allowed by the document, and refused: {said}")
