"""Measures of the source code: import graph, sizes, names, docstrings. `python tests/helpers/code_measures.py` prints a table.

Reads the files as text and runs nothing of the package. tests/test_architecture.py holds the limits.
"""

from __future__ import annotations

import ast
import functools
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
Function = ast.FunctionDef | ast.AsyncFunctionDef
VAGUE = {"found", "told", "own", "given"}  # names that say how a value was come by, not what it is


@dataclass(frozen=True)
class Module:
    """One file of the package. `at_load`: modules it imports when loaded; `in_functions`: later, when a function runs;
    `for_types`: under TYPE_CHECKING alone."""

    name: str
    path: Path
    tree: ast.Module
    lines: int
    at_load: set[str] = field(default_factory=set)
    in_functions: set[str] = field(default_factory=set)
    for_types: set[str] = field(default_factory=set)

    @property
    def imports(self) -> set[str]:
        return self.at_load | self.in_functions | self.for_types

    @property
    def folder(self) -> str:
        """The folder or single file directly below `pbpk` that it belongs to; "" for the package's own `__init__`."""
        return self.name.split(".")[1] if "." in self.name else ""


@functools.cache
def read_modules(package: str = "pbpk") -> dict[str, Module]:
    """All modules of the package by dotted name, with their imports of one another."""
    modules = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        text = path.read_text()
        modules[name] = Module(name, path, ast.parse(text), len(text.splitlines()))
    for module in modules.values():
        _collect_imports(module, module.tree, module.at_load, modules.keys())
        for imports in (module.at_load, module.in_functions, module.for_types):
            imports.discard(module.name)
    return modules


def _collect_imports(module: Module, node: ast.AST, into: set[str], known: Iterable[str]) -> None:
    """Add to `into`, or to the set for types or functions further in, what the statements under `node` import."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for statement in node.body:
            _collect_imports(module, statement, module.for_types, known)
        for statement in node.orelse:
            _collect_imports(module, statement, into, known)
        return
    if isinstance(node, Function) and into is module.at_load:
        into = module.in_functions
    if isinstance(node, ast.Import):
        into.update(alias.name for alias in node.names if alias.name in known)
    elif isinstance(node, ast.ImportFrom) and node.module:
        for alias in node.names:
            submodule = f"{node.module}.{alias.name}"
            into.update(name for name in (submodule if submodule in known else node.module,) if name in known)
    for child in ast.iter_child_nodes(node):
        _collect_imports(module, child, into, known)


def find_cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of two or more modules that import one another in a circle (strongly connected components, Tarjan 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    cycles: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            members = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(members) > 1:
                cycles.append(sorted(members))

    for name in sorted(graph):
        if name not in order:
            visit(name)
    return cycles


def find_longest_chain(graph: dict[str, set[str]]) -> list[str]:
    """The longest path through an import graph without circles."""

    @functools.cache
    def chain(name: str) -> tuple[str, ...]:
        return (name, *max((chain(other) for other in sorted(graph[name])), key=len, default=()))

    return list(max((chain(name) for name in sorted(graph)), key=len))


def walk_functions(modules: Iterable[Module]) -> Iterator[tuple[Module, Function]]:
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, Function):
                yield module, node


def count_lines(function: Function) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def count_parameters(function: Function) -> int:
    a = function.args
    return len(a.posonlyargs) + len(a.args) + len(a.kwonlyargs) + (a.vararg is not None) + (a.kwarg is not None)


def is_verb(function: Function) -> bool:
    """Whether a function is a command of the command line, whose parameters are its flags."""
    return any(
        "typer" in ast.unparse(default) for default in (*function.args.defaults, *function.args.kw_defaults) if default
    )


def find_homonyms(modules: Iterable[Module]) -> dict[str, list[str]]:
    """Names of classes that stand in two or more files, with the files."""
    homes: dict[str, list[str]] = {}
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(module.name)
    return {name: places for name, places in homes.items() if len(set(places)) > 1}


def walk_public_names(module: Module) -> Iterator[tuple[str, ast.ClassDef | Function]]:
    """Public classes and functions of a module, and public methods of these classes, by qualified name."""

    def visit(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.ClassDef | Function]]:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith(
                "_"
            ):
                yield prefix + node.name, node
                if isinstance(node, ast.ClassDef):
                    yield from visit(node.body, f"{prefix}{node.name}.")

    yield from visit(module.tree.body, f"{module.name}:")


def find_undocumented(modules: list[Module]) -> list[str]:
    """Modules and public names without a docstring. A method that a Protocol of the package documents needs none of its own
    where it is implemented."""
    interfaces = {
        method.name
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef) and any("Protocol" in ast.unparse(base) for base in node.bases)
        for method in node.body
        if isinstance(method, Function) and ast.get_docstring(method)
    }
    missing = [module.name for module in modules if not ast.get_docstring(module.tree)]
    for module in modules:
        for name, node in walk_public_names(module):
            implements = "." in name.split(":")[1] and node.name in interfaces
            if not ast.get_docstring(node) and not implements:
                missing.append(name)
    return missing


def count_vague_locals(modules: Iterable[Module]) -> dict[str, int]:
    """How often a local variable or parameter has one of the names in `VAGUE`; laws apart, whose arguments users bind by
    name (`own` of `symport`, docs/models.md)."""
    counts = dict.fromkeys(sorted(VAGUE), 0)
    for module in modules:
        if module.name in ("pbpk.model.laws", "pbpk.model.symporter"):
            continue
        for node in ast.walk(module.tree):
            name = (
                node.id
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
                else getattr(node, "arg", None)
            )
            if name in counts:
                counts[name] += 1
    return counts


def share_of_one_word(names: list[str], count_words: Callable[[str], int]) -> float:
    return sum(count_words(name) <= 1 for name in names) / max(len(names), 1)


def summarise(package: str = "pbpk") -> dict[str, object]:
    """The figures of the code as a whole, for a closing note or a comparison with other packages."""
    modules = read_modules(package)
    values = list(modules.values())
    functions = [f for _, f in walk_functions(values)]
    top = [node for m in values for node in m.tree.body if not getattr(node, "name", "_").startswith("_")]
    classes = [n.name for n in top if isinstance(n, ast.ClassDef)]
    named = [n.name for n in top if isinstance(n, Function)]
    docstrings = [len((ast.get_docstring(node) or "").split()) for m in values for _, node in walk_public_names(m)]
    graph = {name: m.at_load for name, m in modules.items()}
    return {
        "files": len(values),
        "lines": sum(m.lines for m in values),
        "largest file": max(m.lines for m in values),
        "median file": statistics.median(m.lines for m in values),
        "longest function": max(map(count_lines, functions)),
        "most parameters": max(count_parameters(f) for f in functions if not is_verb(f)),
        "words in a docstring, median": statistics.median(docstrings),
        "longest import chain": len(find_longest_chain(graph)),
        "circles, all imports": len(find_cycles({name: m.imports for name, m in modules.items()})),
        "homonymous classes": len(find_homonyms(values)),
        "one-word functions": f"{share_of_one_word(named, lambda n: n.strip('_').count('_') + 1):.0%}",
        "one-word classes": f"{share_of_one_word(classes, lambda n: sum(c.isupper() for c in n)):.0%}",
        "vague locals": sum(count_vague_locals(values).values()),
    }


if __name__ == "__main__":
    for name, value in summarise().items():
        print(f"{name:32} {value}")
