"""What a Python module imports, and what it does apart from comments and docstrings: by its syntax tree alone."""

import ast
import warnings
from collections.abc import Iterator, Sequence

# what repeats other fields, or says nothing about what the code does
_UNSAID = {"ctx", "kind", "type_comment", "type_ignores"}


def parse(source: bytes) -> ast.Module:
    """The syntax tree of a module. Raises SyntaxError or ValueError for what is no Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an odd escape sequence the module's own import has warned
        return ast.parse(source)


def imported(tree: ast.Module, name: str, *, is_package: bool) -> Iterator[str]:
    """The absolute dotted names that the module `name` imports, also within functions.

    A name that is taken out of a module comes as a module of its own as well, since it may be one. Imports for type
    checkers alone are left out.
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
    """The syntax tree without docstrings, the same bytes in every version of Python that can parse the module."""
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
            words.append(f"{field}[")  # nothing for an empty list: a later version may have fields that this one lacks
            for each in kept:
                if isinstance(each, ast.AST):
                    _put(each, words)
                else:
                    words.append(ascii(each))
            words.append("]")
    words.append(")")


def _does_nothing(node: object, *, within: type[ast.AST]) -> bool:
    """True for a text that stands alone, such as a docstring, and for an empty one in an f-string (some versions)."""
    if within is ast.JoinedStr:
        return isinstance(node, ast.Constant) and node.value == ""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
