"""Find a Python module's imports, and a normal form of its code without comments and docstrings."""

import ast
import warnings
from collections.abc import Iterator, Sequence

# fields that repeat others, or do not affect what the code does
_UNSAID = {"ctx", "kind", "type_comment", "type_ignores"}


def parse(source: bytes) -> ast.Module:
    """Return the syntax tree of a module.

    Raises:
        SyntaxError, ValueError: The source is no Python code.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the import of the module has warned of invalid escape sequences
        return ast.parse(source)


def imported(tree: ast.Module, name: str, *, is_package: bool) -> Iterator[str]:
    """Yield the absolute dotted names that the module `name` imports, also in functions.

    A name that is imported from a module is also yielded as a module, as it may be one. Imports for type checkers are
    left out.
    """
    package = name.split(".") if is_package else name.split(".")[:-1]
    return _imported(tree.body, package)


def _imported(body: Sequence[ast.AST], package: Sequence[str]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test).rpartition(".")[2] == "TYPE_CHECKING":
            yield from _imported(node.orelse, package)
        elif isinstance(node, ast.stmt | ast.excepthandler | ast.match_case):
            yield from _imported(list(ast.iter_child_nodes(node)), package)


def normal_form(tree: ast.Module) -> bytes:
    """Return the syntax tree without docstrings, as the same bytes in every version of Python that can parse it."""
    words: list[str] = []
    _put(tree, words)
    return "\n".join(words).encode()


def _put(node: ast.AST, words: list[str]) -> None:
    kind = node.__class__
    if kind is ast.Constant:
        words.append(ascii(node.value))  # type: ignore[attr-defined]
        return
    words.append(kind.__name__)
    for field in sorted(kind._fields):
        value = getattr(node, field, None)
        if value is None or field in _UNSAID:
            continue
        if isinstance(value, ast.AST):
            words.append(field)
            _put(value, words)
        elif not isinstance(value, list):
            words.append(f"{field}={value!a}")
        elif kept := [each for each in value if not _does_nothing(each, within=kind)]:
            words.append(f"{field}[")  # no empty list, as a later version may have new fields
            for each in kept:
                if isinstance(each, ast.AST):
                    _put(each, words)
                else:
                    words.append(ascii(each))
            words.append("]")
    words.append(")")


def _does_nothing(node: object, *, within: type[ast.AST]) -> bool:
    """Return True for a text that stands alone, such as a docstring, and for an empty text in an f-string."""
    if within is ast.JoinedStr:
        return isinstance(node, ast.Constant) and node.value == ""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
