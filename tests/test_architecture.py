"""The code against its own rules: layers, import chains, sizes, names, docstrings (docs/architecture.md says why)."""

import re

import pytest
from code_measures import (
    ROOT,
    count_lines,
    count_parameters,
    count_vague_locals,
    find_cycles,
    find_homonyms,
    find_longest_chain,
    find_undocumented,
    is_verb,
    read_modules,
    walk_functions,
)

MODULES = read_modules()
FILES = list(MODULES.values())
FACADE = "pbpk"  # its __init__ names everything for type checkers; nothing imports a name from it but __version__


@pytest.fixture(scope="module")
def layers() -> dict[str, int]:
    """The layer of each folder, from the table of docs/architecture.md: `| 3 | `solve/` | … |`."""
    text = (ROOT / "docs/architecture.md").read_text()
    rows = re.findall(r"^\| *(\d+) *\| *((?:`[\w/.]+`(?:, )?)+) *\|", text, flags=re.MULTILINE)
    return {
        name.strip("`/").removesuffix(".py"): int(layer) for layer, names in rows for name in names.strip().split(", ")
    }


def test_the_drawing_has_a_row_for_every_folder(layers):
    assert set(layers) == {m.folder for m in FILES} - {""}


def test_imports_go_downwards_only(layers):
    """Also those inside functions and for types. Folders of one layer do not import one another."""
    upward = [
        f"{m.name} imports {other}"
        for m in FILES
        for other in sorted(m.imports)
        if FACADE not in (m.name, other)
        and MODULES[other].folder != m.folder
        and layers[MODULES[other].folder] >= layers[m.folder]
    ]
    assert upward == []


def test_no_circular_imports_even_for_types():
    graph = {m.name: m.imports - {FACADE} for m in FILES if m.name != FACADE}
    assert find_cycles(graph) == []


def test_import_chains_are_short():
    chain = find_longest_chain({m.name: m.at_load for m in FILES})
    assert len(chain) <= 15, " > ".join(chain)


def test_class_names_are_unique():
    homonyms = {name: places for name, places in find_homonyms(FILES).items() if not name.startswith("_")}
    assert homonyms == {}


def test_functions_are_short_and_take_few_parameters():
    assert [f"{m.name}:{f.name} {count_lines(f)}" for m, f in walk_functions(FILES) if count_lines(f) > 70] == []
    many = [f"{m.name}:{f.name} {count_parameters(f)}" for m, f in walk_functions(FILES) if count_parameters(f) > 12]
    verbs = {f"{m.name}:{f.name} {count_parameters(f)}" for m, f in walk_functions(FILES) if is_verb(f)}
    assert [name for name in many if name not in verbs] == []


@pytest.mark.parametrize("folder", ["pbpk", "models", "benchmarks"])
def test_files_are_short(folder):
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in (ROOT / folder).rglob("*.py")}
    assert {path: lines for path, lines in lengths.items() if lines > 400} == {}


def test_every_public_name_has_a_docstring():
    assert find_undocumented(FILES) == []


def test_locals_say_what_they_are():
    assert set(count_vague_locals(FILES).values()) == {0}
