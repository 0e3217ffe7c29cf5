"""What JSON Schema can say of an audience's filter, and of a batch to an audience.

The figures and words are those of the checks (``audiences.filters``). Of groups inside a group it
says that they are groups: all depths are more than generators of requests can combine.
"""

from notifications.api.fields import CATEGORY_NAME
from notifications.api.json_schemas import SOME, Json, number, some_of, text, whole
from notifications.audiences import filters, saved, variables
from notifications.models.preference import CATEGORY
from notifications.models.recipient import ADDRESSED

CONDITION, EVERYONE = "FilterCondition", "FilterEveryone"
GROUP, PART, FILTER = "FilterGroup", "FilterPart", "Filter"

_CHANNEL: Json = {"type": "string", "enum": [*ADDRESSED]}
_TEXT: Json = {"type": "string", **text(filters.LONGEST_VALUE)}
_NUMBER: Json = {"type": "number", **number(-filters.LARGEST_NUMBER, filters.LARGEST_NUMBER)}
_SCALAR: Json = {"anyOf": [_TEXT, _NUMBER, {"type": "boolean"}]}
_DAYS_AGO: Json = {
    "type": "object",
    "properties": {"days_ago": {"type": "integer", **number(0, filters.MOST_DAYS)}},
    "required": ["days_ago"],
    "additionalProperties": False,
}
_MOMENT: Json = {"anyOf": [{"type": "string", "format": "date-time"}, _DAYS_AGO]}
_SIZE: Json = {"anyOf": [_NUMBER, {"type": "string", "format": "date"}, _DAYS_AGO]}


def path_of_keys(key: str) -> str:
    """Return the pattern of an attribute's path, of a key's."""
    part = f"{key}{{1,{filters.LONGEST_KEY}}}"
    return rf"^attributes\.{part}(?:\.{part}){{0,{filters.LONGEST_PATH - 1}}}$"


_ATTRIBUTE: Json = {"type": "string", "pattern": path_of_keys(r'[^."\\\u0000]')}
_COMPARED: Json = {"type": "string", "pattern": path_of_keys("[A-Za-z0-9_-]")}
_CONSENT: Json = {"type": "string", "pattern": whole(CATEGORY).replace("^", r"^consent\.", 1)}


def _many(value: Json) -> Json:
    return {"type": "array", "items": value, "minItems": 1, "maxItems": filters.MOST_VALUES}


def _condition(field: Json, op: Json, value: Json) -> Json:
    return {"properties": {"field": field, "op": op, "value": value}}


def _fields(*names: str) -> Json:
    return {"type": "string", "enum": [*names]}


def _either_one_or_many(field: Json, value: Json) -> list[Json]:
    return [
        _condition(field, {"const": "eq"}, value),
        _condition(field, {"const": "in"}, _many(value)),
    ]


_COMPARISONS: Json = {"enum": [*filters.COMPARISONS]}
_CONDITION: Json = {
    "title": CONDITION,
    "description": "A condition on a field of a recipient.",
    "type": "object",
    "properties": {"field": {"type": "string"}, "op": {"type": "string"}, "value": {}},
    "required": ["field", "op", "value"],
    "additionalProperties": False,
    **some_of(
        *_either_one_or_many(_ATTRIBUTE, _SCALAR),
        _condition(_ATTRIBUTE, {"const": "contains"}, _SCALAR),
        _condition(_ATTRIBUTE, {"const": "exists"}, {"type": "boolean"}),
        _condition(_COMPARED, _COMPARISONS, _SIZE),
        _condition(_CONSENT, {"const": "eq"}, _CHANNEL),
        *_either_one_or_many(_fields(*filters.PLAIN), _TEXT),
        _condition(_fields(*filters.TIMES), _COMPARISONS, _MOMENT),
        *_either_one_or_many(_fields(*filters.CHANNELS), _CHANNEL),
    ),
}


def _one(name: str, value: Json) -> Json:
    return {
        "type": "object",
        "properties": {name: value},
        "required": [name],
        "additionalProperties": False,
    }


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


_GROUP: Json = {
    "title": GROUP,
    "description": "A group of conditions inside a group: a filter of its own.",
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "propertyNames": {"enum": ["and", "or", "not"]},
}
_EVERYONE: Json = {"title": EVERYONE, **_one("everyone", {"const": True})}
_PART: Json = {
    "title": PART,
    "description": "What a group is made of.",
    "anyOf": [_ref(CONDITION), _ref(EVERYONE), _ref(GROUP)],
}
_PARTS: Json = {"type": "array", "items": _ref(PART), "minItems": 1}
_FILTER: Json = {
    "title": FILTER,
    "description": "A condition, or a group of conditions and of groups like it, of which "
    f"{filters.DEEPEST} are inside each other at most.",
    "type": "object",
    **some_of(
        *(_ref(CONDITION), _ref(EVERYONE)),
        *(_one("and", _PARTS), _one("or", _PARTS), _one("not", _ref(PART))),
    ),
}
# Each has a name, for generators make a type of it that others refer to.
_SCHEMAS: Json = {
    CONDITION: _CONDITION,
    EVERYONE: _EVERYONE,
    GROUP: _GROUP,
    PART: _PART,
    FILTER: _FILTER,
}


AUDIENCE: Json = {"type": "string", **CATEGORY_NAME, "not": {"const": saved.RESERVED}}
"""An audience's name."""
_PATH: Json = {"anyOf": [{"enum": [*variables.COLUMNS]}, _ATTRIBUTE]}
VARIABLES: Json = {
    "type": "object",
    "description": "The template's variables, by what fills them: `attributes.…`, `id`, `locale`, "
    "`timezone` or `country`, or an object of `from` and `default`.",
    "maxProperties": variables.MOST,
    "propertyNames": SOME,
    "additionalProperties": {
        "anyOf": [
            _PATH,
            {
                "type": "object",
                "properties": {"from": _PATH, "default": {}},
                "required": ["from"],
                "additionalProperties": False,
            },
        ]
    },
}


def complete(schemas: Json) -> None:
    """Add the schemas of filters, and let the bodies that hold one name them."""
    schemas |= _SCHEMAS
    for body in ("AudienceIn", "FilterIn"):
        given = schemas[body]["properties"]["filter"]
        # Not by ``allOf``, of which generators make a type for each kind of condition.
        only_then = {"if": {"type": "object"}, "then": _ref(FILTER)}
        schemas[body]["properties"]["filter"] = {**given, **only_then}
