"""What can go wrong with a template, by name. Each error carries a hint: the way out."""

from collections.abc import Iterable


class TemplateError(Exception):
    """The root of this package's errors. ``hint`` tells what to do about it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class TemplateNotFound(TemplateError):
    """No template has this name."""


class TemplateNotPublished(TemplateError):
    """The template exists, but none of its versions is published."""


class VersionNotFound(TemplateError):
    """No version has this id, or the template has no version of this number."""


class VersionImmutable(TemplateError):
    """A version that was published once keeps its content for good."""


class NeedsColleague(TemplateError):
    """Its authors do not publish a version where the two-person rule is on."""


class InvalidTemplate(TemplateError):
    """A source can't be accepted.

    ``locale``, ``part`` tell which source; ``line`` and ``column`` count from 1, 0 where unknown.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        locale: str = "",
        part: str = "",
        line: int = 0,
        column: int = 0,
    ) -> None:
        super().__init__(message, hint=hint)
        self.locale, self.part, self.line, self.column = locale, part, line, column

    def __str__(self) -> str:
        place = [self.part and f"{self.part} ({self.locale})", self.line and f"line {self.line}"]
        place.append(self.column and f"column {self.column}")
        where = ", ".join(str(word) for word in place if word)
        message = super().__str__()
        return f"{where}: {message}" if where else message


class MissingVariables(TemplateError):
    """The context lacks variables that the template needs; ``names`` is sorted.

    ``empty`` says that they are there, but empty: what is sent would have a hole.
    """

    def __init__(self, template_name: str, names: Iterable[str], *, empty: bool = False) -> None:
        self.names = sorted(names)
        needs = f"Template {template_name!r} needs {', '.join(self.names)}"
        super().__init__(
            f"{needs}, which must not be empty or null." if empty else f"{needs}.",
            hint="Give a value, or let the template say what an empty one means: "
            "{{ name|default('there', true) }}."
            if empty
            else "Pass each of them in the context.",
        )


class InvalidContext(TemplateError):
    """The context breaks the version's JSON Schema, or holds what the template cannot print.

    ``path`` is like ``items[0].price``.
    """

    def __init__(self, template_name: str, path: str, problem: str, hint: str = "") -> None:
        self.path = path
        super().__init__(
            f"Template {template_name!r} refuses the context at {path or 'its root'}: {problem}",
            hint=hint or "See the version's context schema.",
        )


class RenderError(TemplateError):
    """The content could not be made. Rendering is pure, so trying again gives the same error.

    ``reason`` is a short word for counting: ``undefined``, ``security``, ``limit``, ``empty``,
    ``link``, ``value``, ``json``, ``segments`` or ``error``.
    """

    def __init__(self, message: str, *, reason: str, hint: str = "", part: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason, self.part = reason, part

    def __str__(self) -> str:
        return f"{self.part}: {super().__str__()}" if self.part else super().__str__()


class RenderLimitExceeded(RenderError):
    """Rendering took more work, memory, time or output than one notification may."""

    def __init__(self, message: str, *, part: str = "") -> None:
        super().__init__(
            message, reason="limit", part=part, hint="Shorten the loops or the values it prints."
        )


class TooManySegments(RenderError):
    """The text takes more SMS segments than one message may; each is paid for."""

    def __init__(self, segments: int, limit: int, encoding: str, offending: Iterable[str]) -> None:
        self.segments, self.limit = segments, limit
        named = " ".join(f"{char} (U+{ord(char):04X})" for char in list(offending)[:10])
        super().__init__(
            f"It takes {segments} SMS segments in {encoding}, the limit is {limit}.",
            reason="segments",
            part="text",
            hint=f"Without {named} it would fit GSM-7." if named else "Shorten it.",
        )
