"""Let `imgrec train --help` explain the choices and keys that are given beside it, the user's own included."""

from typing import Any

from typer.core import TyperCommand

_WORDS = "imgrec.words"  # key of the words beside the options of `train`


class TrainCommand(TyperCommand):
    """The command `train`, whose help explains the choices and keys given beside --help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--help" in args or "-h" in args:  # help shows the loaded components
            args = _load_named_in(args, ctx)
        ctx.meta[_WORDS] = [word for word in args if not word.startswith("-")]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from imgrec.help_page import help_page

        formatter.write(help_page(ctx.meta[_WORDS]))


def _load_named_in(args: list[str], ctx: Any) -> list[str]:
    """Load the files that --components and --config-dir name among these words, and return the other words."""
    from imgrec.config import folders, outside

    found: dict[str, list[str]] = {"--components": [], folders.OPTION: []}
    others = []
    words = iter(args)
    for word in words:
        option, equals, value = word.partition("=")
        if option in found:
            found[option].append(value if equals else next(words, ""))
        else:
            others.append(word)
    outside.load(found["--components"])
    ctx.with_resource(folders.also(found[folders.OPTION][-1] if found[folders.OPTION] else None))
    return others
