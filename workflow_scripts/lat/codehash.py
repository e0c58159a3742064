"""What a step executes, as a hash of the syntax trees of its script and of all modules of this package that it imports.

As a parameter of a rule, it reruns the steps that import a changed module, and what depends on them. Comments,
docstrings and formatting are not part of it.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


@cache
def step_code(script: str) -> str:
    """The hash of what a script of this package executes.

    Args:
        script: name of the script, such as `detect`.
    """
    digest = hashlib.sha256()
    for path in sorted(imported_files(PACKAGE / f"{script}.py")):
        digest.update(b"%s\n%s\n" % (path.relative_to(PACKAGE).as_posix().encode(), _code_of(path)))
    return digest.hexdigest()[:16]


def imported_files(script: Path) -> set[Path]:
    """A script and all modules of this package that it imports, directly or through others."""
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imports_of(path)
    return found


@cache
def _tree(path: Path) -> ast.Module:
    """The syntax tree of a module, without docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and (
            ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:]
    return tree


@cache
def _code_of(path: Path) -> bytes:
    """The syntax tree of a module as text, without positions."""
    return ast.dump(_tree(path)).encode()


@cache
def _imports_of(path: Path) -> tuple[Path, ...]:
    """The modules of this package that a module imports, those of packages on the way included."""
    found: set[Path] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = path.parent
            for _ in range(node.level - 1):
                folder = folder.parent
            module = folder.joinpath(*(node.module or "").split(".")) if node.module else folder
            found |= set(_files_of(module))
            # What is imported from a package may be a module of it.
            for alias in node.names:
                found |= set(_files_of(module / alias.name))
    return tuple(sorted(found))


def _files_of(module: Path) -> Iterator[Path]:
    """The file of a module, and the `__init__` files that Python runs before it; nothing for no module."""
    file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
    if file.is_file():
        yield file
        for folder in module.parents:
            if folder == PACKAGE.parent:
                break
            yield folder / "__init__.py"
