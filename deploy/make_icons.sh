#!/bin/sh
# Cut Unfold's font of icons down to those that icons.txt names: 9 kB in place of 290 kB on each first look.
# The font is Google's Material Symbols (Apache License 2.0).
set -eu
cd "$(dirname "$0")/.."
font=unfold/fonts/material-symbols/Material-Symbols-Outlined.woff2
whole=$(.venv/bin/python -c 'import unfold; print(unfold.__path__[0])')/static/$font
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
.venv/bin/python -m venv "$tools"
"$tools/bin/python" -m pip install --quiet fonttools brotli
"$tools/bin/python" - "$whole" deploy/icons.txt "config/static/$font" <<'END'
import sys
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

whole, names, out = sys.argv[1:]
wanted = set(Path(names).read_text().split())
font = TTFont(whole)
letters = {glyph: chr(code).lower() for code, glyph in font.getBestCmap().items()}
glyphs, found = set(), set()
for lookup in font["GSUB"].table.LookupList.Lookup:
    for table in lookup.SubTable:
        for first, ligatures in getattr(table, "ligatures", {}).items():
            for ligature in ligatures:
                parts = [first, *ligature.Component]
                word = "".join(letters.get(part, "?") for part in parts)
                if word in wanted:
                    glyphs |= {ligature.LigGlyph, *parts}
                    found.add(word)
if wanted - found:
    sys.exit(f"The font has no icon {', '.join(sorted(wanted - found))}.")
options = Options(layout_closure=False, hinting=False, layout_features=["*"])
cut = Subsetter(options)
cut.populate(glyphs=glyphs)
cut.subset(font)
font.flavor = "woff2"
font.save(out)
END
