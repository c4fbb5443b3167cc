"""`unswap`: Program -> Program, without axes that change places only to be summed over.

A matrix that a query reads from its other side, S^T q, is written as a swap of its axes, a product
and a sum. The swap moves every number; the sum over the other axis moves none.
"""

from dataclasses import replace

from unrolled.ir import OPS, Op, Operand, Operation, Program, without_unread
from unrolled.ir.ops import Attributes


def unswap(program: Program) -> Program:
    """Move swaps behind what is computed number by number, until a sum or a maximum takes them up.

    Args:
        program: any program.

    Returns:
        The same with fewer swaps, or itself where that cannot be had.

    Example:
        >>> from unrolled.ir import parse
        >>> print(unswap(parse('''program float32
        ... input  q: rows 3
        ... state  S: rows 6
        ... T = swap[1, 3, 2, 1] S : rows 6
        ... r = expand[1, 2, 3] q : rows 6
        ... p = mul T, r : rows 6
        ... y = sum[2, 3, 1] p : rows 2
        ... output y = y
        ... next   S = S''')))
        program float32
        input  q: rows 3
        state  S: rows 6
        r_turned = expand[3, 2, 1] q : rows 6
        p_turned = mul S, r_turned : rows 6
        y = sum[1, 3, 2] p_turned : rows 2
        output y = y
        next   S = S
    """
    turned = without_unread(replace(program, body=tuple(_Turner(program).body.values())))
    return turned if _swaps(turned) < _swaps(program) else program


def _swaps(program: Program) -> int:
    return sum(operation.op is Op.SWAP for operation in program.body)


class _Turner:
    """The operations of a program, written again in order."""

    def __init__(self, program: Program) -> None:
        self.scalars = {value.name for value in program.fixed if value.type.shape == ()}
        self.taken = {str(value) for value in program.types}
        self.body: dict[str, Operation] = {}
        for operation in program.body:
            self._write(operation)

    def _write(self, operation: Operation) -> None:
        swap = next((s for o in operation.operands if (s := self._swap(o)) is not None), None)
        if swap is not None and OPS[operation.op].kind == "reduction":
            operation = _other_way(operation, swap)
        elif swap is not None and OPS[operation.op].kind == "pointwise":
            inside = [self._turned(operand, swap.attributes) for operand in operation.operands]
            operands = tuple(operand for operand in inside if operand is not None)
            if len(operands) == len(inside):
                own = replace(operation, name=self._name(operation.name), operands=operands)
                self.body[own.name] = own
                operation = replace(swap, name=operation.name, operands=(own.name,))
                operation = replace(operation, type=own.type)
        self.body[operation.name] = operation

    def _swap(self, operand: Operand) -> Operation | None:
        found = self.body.get(str(operand))
        return found if found is not None and found.op is Op.SWAP else None

    def _turned(self, operand: Operand, view: Attributes) -> Operand | None:
        """Give what becomes an operand by the swap, if that costs nothing."""
        found = self.body.get(str(operand))
        if not isinstance(operand, str) or operand in self.scalars:
            return operand
        if found is not None and found.op is Op.SWAP and found.attributes == view:
            return found.operands[0]
        outer, a, b, inner = view
        attributes = _swapped(found, (outer, b, a, inner))
        if found is None or attributes is None:
            return None
        own = replace(found, name=self._name(found.name), attributes=attributes)
        self.body[own.name] = own
        return own.name

    def _name(self, name: str) -> str:
        own = f"{name}_turned"
        while own in self.taken:
            own += "_"
        self.taken.add(own)
        return own


def _swapped(expand: Operation | None, view: Attributes) -> Attributes | None:
    """Give the attributes of the expand that is a swap of an expand, if one is."""
    if expand is None or expand.op is not Op.EXPAND:
        return None
    outer, a, b, inner = view
    same = {
        (outer, a, b * inner): (outer * b, a, inner),
        (outer * a, b, inner): (outer, b, a * inner),
    }
    return same.get(expand.attributes)  # pyright: ignore[reportCallIssue, reportArgumentType]


def _other_way(reduction: Operation, swap: Operation) -> Operation:
    """Reduce what was swapped, over the same numbers, if they are one axis of it."""
    outer, a, b, inner = swap.attributes
    same: dict[Attributes, Attributes] = {
        (outer, b, a * inner): (outer * a, b, inner),
        (outer * b, a, inner): (outer, a, b * inner),
    }
    attributes = same.get(reduction.attributes)
    if attributes is None:
        return reduction
    return replace(reduction, operands=swap.operands, attributes=attributes)
