"""A check of schemathesis: what its document allows is refused only for what no schema can say.

It is made where ``FUZZ_EXAMPLES`` asks for a budget of one's own: FUZZ_EXAMPLES=20 make test ARGS=…
"""

import os
import re
from typing import Any

import schemathesis

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
    "|[a-z-]+ at .*: .*a character that cannot be kept.*"
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
