"""The site of docs/, by Sphinx: ``make docs``. Its pages load nothing from other hosts."""

import json
import os
import re
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

import django
from django.contrib.staticfiles import finders
from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
with tempfile.TemporaryDirectory() as folder:  # the settings make VAR_DIR, and nothing fills it
    os.environ["VAR_DIR"] = folder
    django.setup()

project = "Notifications"
author = "The authors of notifications"
release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 4
highlight_language = "text"
html_theme = "furo"
html_title = f"Notifications {release}"
html_copy_source = False
html_show_copyright = False

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"

# A link to a folder or file beside docs/: a site has pages alone, so it shows the path.
_BESIDE = re.compile(r"\[[^\]]+\]\(\.\./([^)#]+)\)")

_SWAGGER = ("swagger-ui.css", "swagger-ui-bundle.js")
_OPENAPI_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>HTTP API of notifications</title>
<link rel="stylesheet" href="_static/swagger-ui.css">
</head>
<body>
<p><a href="index.html">Documentation</a> · <a href="openapi.json">openapi.json</a></p>
<div id="api"></div>
<script src="_static/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({spec: %s, dom_id: "#api", validatorUrl: null, supportedSubmitMethods: []})
</script>
</body>
</html>
"""


def _show_paths(_app: Sphinx, _page: str, source: list[str]) -> None:
    source[0] = _BESIDE.sub(r"`\1`", source[0])


def _mark_code(
    _app: Sphinx, _what: str, _name: str, _of: object, _how: object, lines: list[str]
) -> None:
    """Mark the indented blocks of a docstring as code, which is what they are here."""
    for number, line in reversed(list(enumerate(lines))):
        above = next((line for line in reversed(lines[:number]) if line.strip()), "")
        begins = line.startswith("    ") and number and not lines[number - 1].strip()
        if begins and not above.startswith((" ", ":", "..")) and not above.endswith("::"):
            lines[number:number] = ["::", ""]


def _add_openapi(app: Sphinx, error: Exception | None) -> None:
    """Write the OpenAPI document, and a page that shows it by the files that ninja brings."""
    if error is not None or app.builder.format != "html":
        return
    from notifications.api.application import api  # noqa: PLC0415 -- once Django is set up

    document = json.dumps(api.get_openapi_schema(), indent=1)
    site = Path(app.outdir)
    (site / "openapi.json").write_text(document)
    (site / "openapi.html").write_text(_OPENAPI_PAGE % document.replace("</", "<\\/"))
    for name in _SWAGGER:
        shutil.copy(str(finders.find(f"ninja/{name}")), site / "_static")


def setup(app: Sphinx) -> None:
    """Connect what this file adds to Sphinx."""
    app.connect("source-read", _show_paths)
    app.connect("autodoc-process-docstring", _mark_code)
    app.connect("build-finished", _add_openapi)
