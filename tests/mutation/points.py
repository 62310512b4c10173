"""Where a module can be changed, and how: one small mistake at a time.

Left alone: texts, annotations, decorators, whole numbers from 256 on (bounds of tables, which no test should pin), and what is for
type checkers only.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

COMPARED: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
REACHED: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
LARGE: Final = 256


@dataclass(frozen=True)
class Point:
    """One change of one module.

    Attributes:
        path: of the module.
        number: which node it is, in the order of `ast.walk`.
        line: where it stands.
        before: what stands there.
        after: what would.
    """

    path: Path
    number: int
    line: int
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}  {self.before}  ->  {self.after}"


def points(path: Path) -> Iterator[Point]:
    """Every change of a module."""
    tree = ast.parse(path.read_text("utf-8"))
    left = _left_alone(tree)
    for number, node in enumerate(ast.walk(tree)):
        if number not in left and (changed := changed_node(node)) is not None:
            yield Point(path, number, node.lineno, _shown(node), _shown(changed))  # type: ignore[attr-defined]  # all of these have


def mutated(point: Point) -> ast.Module:
    """The module with that change."""
    tree = ast.parse(point.path.read_text("utf-8"))
    wanted = list(ast.walk(tree))[point.number]

    class Change(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            if node is not wanted:
                return self.generic_visit(node)
            changed = changed_node(node)
            assert changed is not None
            return ast.copy_location(changed, node)

    Change().visit(tree)
    return ast.fix_missing_locations(tree)


def changed_node(node: ast.AST) -> ast.AST | None:
    """What a node becomes, None for one that stays."""
    changed = copy.deepcopy(node)
    match changed:
        case ast.Compare(ops=[only]) if type(only) in COMPARED:
            changed.ops = [COMPARED[type(only)]()]
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in REACHED:
            changed.op = REACHED[type(op)]()
        case ast.BoolOp(op=op):
            changed.op = ast.Or() if isinstance(op, ast.And) else ast.And()
        case ast.UnaryOp(op=ast.Not(), operand=inside):
            return inside
        case ast.Constant(value=bool() as value):
            changed.value = not value
        case ast.Constant(value=int() as value) if value < LARGE:
            changed.value = value + 1
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            changed.value = ast.Constant(None)
        case ast.Raise(exc=ast.expr()):
            return ast.Pass()
        case _:
            return None
    return changed


def _left_alone(tree: ast.Module) -> set[int]:
    """The numbers of the nodes that are not changed."""
    numbers = {id(node): number for number, node in enumerate(ast.walk(tree))}
    spared: list[ast.AST] = []
    for node in ast.walk(tree):
        match node:
            case ast.AnnAssign(annotation=kind):
                spared.append(kind)
            case ast.arg(annotation=ast.expr() as kind):
                spared.append(kind)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                spared += node.decorator_list
                if not isinstance(node, ast.ClassDef) and node.returns is not None:
                    spared.append(node.returns)
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                spared.append(node)
            case ast.JoinedStr():
                spared.append(node)
    return {numbers[id(inner)] for node in spared for inner in ast.walk(node)}


def _shown(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 70 else f"{text[:67]}..."
