"""The Jinja2 environment that content runs in."""

from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment


def environment(*, html: bool) -> ImmutableSandboxedEnvironment:
    """Make the environment of HTML parts (values escaped) or of the others (not escaped)."""
    return ImmutableSandboxedEnvironment(
        autoescape=html,
        undefined=StrictUndefined,
        optimized=False,
        trim_blocks=True,
        lstrip_blocks=True,
        cache_size=0,
    )
