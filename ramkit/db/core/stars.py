"""Whether a statement gives ``*``, all columns of what it reads."""

import re
from collections.abc import Iterator

__all__ = ["gives_all_columns"]

#: PostgreSQL's lexical structure, as far as something can look like a star that is none. Comments nest, so
#: that their end is looked for separately.
_TOKEN = re.compile(
    r"""
    --[^\n]*
    | (?P<comment>/\*)
    | [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*"
    | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$
    | (?P<token>\w[\w$]*|\S)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r"/\*|\*/")

#: What may follow a star that stands for columns. After one that multiplies comes an operand.
_AFTER = {"", ",", ")", ";", "from", "into", "where", "group", "having", "window", "union", "intersect",
          "except", "order", "limit", "offset", "fetch", "for"}  # fmt: skip
#: A parenthesis after these holds a part of the statement itself; after others, what it reads from.
_BEFORE_PART = {"", "(", "union", "intersect", "except", "all"}


def gives_all_columns(statement: str) -> bool:
    """Of the result, as in ``SELECT a, t.*`` and ``RETURNING *``. A star in a subquery does not count: the
    planner drops what is not asked of it."""
    own, before = [True], ["", ""]
    for word in [*_tokens(statement), ""]:
        if before[1] == "*" and before[0] != "(" and word in _AFTER and own[-1]:
            return True
        if word == "(":
            own.append(own[-1] and before[1] in _BEFORE_PART)
        elif word == ")" and len(own) > 1:
            own.pop()
        before = [before[1], word]
    return False


def _tokens(statement: str) -> Iterator[str]:
    """Words in lower case, and single characters; a literal or a quoted name is ``'``."""
    place = 0
    while (found := _TOKEN.search(statement, place)) is not None:
        place = found.end()
        if found["comment"]:
            place = _after_comment(statement, place)
        elif not found[0].startswith("--"):
            yield found["token"].lower() if found["token"] else "'"


def _after_comment(statement: str, place: int) -> int:
    depth = 1
    while depth and (found := _COMMENT.search(statement, place)) is not None:
        depth += 1 if found[0] == "/*" else -1
        place = found.end()
    return place if not depth else len(statement)
