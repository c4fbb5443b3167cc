"""`adjoint`: Program -> the Program that runs backwards through time.

The backward program reads the gradients of the outputs, what the forward computed, and as its
states the gradients of the states. Gradients of matrices are not accumulated in it: it gives the
gradient before each matrix at every step, and one product over all steps follows the loop.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from unrolled.compiler.derivatives import ADJOINT, Term
from unrolled.compiler.simplify import simplify
from unrolled.ir import OPS, Op, Operand, Operation, Program, Type, Value, verify
from unrolled.ir.ops import Attributes


@dataclass(frozen=True)
class Gradient:
    """How the gradient of a given value is made, after the loop, from what the programs gave.

    ``sequence``: it is `right` itself; ``constant``: the sum of `right` over time; ``outer``: that
    of the outer products of `left` and `right`; ``vector``: the sum of `right` over time and batch;
    ``scalar``: the sum of all of it; ``matrix``: the product of `left` and
    `right`, summed over time and batch, block by block; ``operand``: the product of `right` with
    the given matrix `left` turned over; ``operand of turned``: with the matrix as it is.
    """

    of: str
    how: Literal[
        "sequence",
        "constant",
        "outer",
        "vector",
        "scalar",
        "matrix",
        "operand",
        "operand of turned",
    ]
    right: str
    left: str = ""


@dataclass(frozen=True)
class Adjoint:
    """The backward of a program, before it is decided what the forward stores."""

    program: Program  # reads forward values by their names, as inputs
    gradients: tuple[Gradient, ...]  # several of one value are summed
    prefix: str  # of a state's name: its gradient; with out_ behind it, of an output's name

    def __str__(self) -> str:
        lines = [
            f"d {g.of} = {g.how}({', '.join(filter(None, (g.left, g.right)))})"
            for g in self.gradients
        ]
        return "\n".join([str(self.program), *lines])


def adjoint(program: Program) -> Adjoint:
    """Differentiate a program.

    Args:
        program: the forward.

    Returns:
        The backward program. ``d_y`` is the gradient of the value y.

    Example:
        >>> from unrolled.ir import parse
        >>> print(adjoint(parse('''program float32
        ... input  a: rows 2
        ... state  h: rows 2
        ... fixed  U: 2x2
        ... u = matmul h, U : rows 2
        ... s = add u, a : rows 2
        ... n = tanh s : rows 2
        ... output y = n
        ... next   h = n''')))
        program float32
        input  d_out_y: rows 2
        input  n: rows 2
        state  d_h: rows 2
        fixed  U: 2x2
        d_add = add d_h, d_out_y : rows 2
        d_mul = mul n, n : rows 2
        d_sub = sub 1.0, d_mul : rows 2
        d_mul_1 = mul d_add, d_sub : rows 2
        d_matmul_t = matmul_t d_mul_1, U : rows 2
        output d_mul_1 = d_mul_1
        next   d_h = d_matmul_t
        d U = matrix(h, d_mul_1)
        d a = sequence(d_mul_1)
    """
    return _Backward(program).written()


class _Backward:
    """The backward program as far as it is written."""

    def __init__(self, program: Program) -> None:
        self.forward = program
        self.prefix = "d_"
        while any(name.startswith(self.prefix) for name in program.types):
            self.prefix = f"d{self.prefix}"
        self.types: dict[str, Type] = dict(program.types)
        self.by_name = {operation.name: operation for operation in program.body}
        self.inputs = {value.name for value in program.inputs}
        self.body: list[Operation] = []
        self.read: dict[str, Value] = {}
        self.masks: dict[str, str] = {}
        self.whole: dict[str, list[Term]] = {}
        self.pieces: dict[str, list[tuple[int, int, Term]]] = {}
        self.gradients: list[Gradient] = []

    def written(self) -> Adjoint:
        program = self.forward
        states = [Value(f"{self.prefix}{value.name}", value.type) for value in program.states]
        given = [
            Value(f"{self.prefix}out_{name}", self.types[str(value)])
            for name, value in program.outputs
        ]
        for value in (*states, *given):
            self.types[value.name] = value.type
        for value, (_, after) in zip(states, program.next, strict=True):
            self._add(after, Term(self, value.name))
        for value, (_, output) in zip(given, program.outputs, strict=True):
            self._add(output, Term(self, value.name))
        for operation in reversed(program.body):
            gradient = self._total(operation.name)
            if gradient is not None and operation.type.kind == "rows":
                self._through(operation, gradient)
        for value in program.inputs:
            if (gradient := self._total(value.name)) is not None:
                self.gradients.append(Gradient(value.name, "sequence", str(gradient.operand)))
        for value in program.constants:
            self._of_constant(value.name)
        return self._simplified(states, given, tuple((v.name, self._before(v)) for v in states))

    def _simplified(
        self, states: list[Value], given: list[Value], before: tuple[tuple[str, str], ...]
    ) -> Adjoint:
        """Drop what is not needed; an output is named after the value that it gives."""
        outside = {g.right for g in self.gradients} | {g.left for g in self.gradients}
        made = {operation.name for operation in self.body} | {v.name for v in (*states, *given)}
        wanted = sorted(outside & made)
        program = simplify(
            Program(
                dtype=self.forward.dtype,
                inputs=(
                    *given,
                    *(v for v in self.read.values() if v not in self.forward.constants),
                ),
                constants=self.forward.constants,
                states=tuple(states),
                fixed=self.forward.fixed,
                body=tuple(self.body),
                outputs=tuple((name, name) for name in wanted),
                next=before,
            )
        )
        by_wanted = dict(program.outputs)
        outputs = {str(value): str(value) for value in by_wanted.values()}
        renamed = Program(
            program.dtype,
            program.inputs,
            program.constants,
            program.states,
            program.fixed,
            program.body,
            tuple(outputs.items()),
            program.next,
        )
        gradients = tuple(
            Gradient(
                g.of,
                g.how,
                str(by_wanted.get(g.right, g.right)),
                str(by_wanted.get(g.left, g.left)),
            )
            for g in self.gradients
        )
        return Adjoint(verify(renamed), gradients, self.prefix)

    def _before(self, state: Value) -> str:
        total = self._total(state.name.removeprefix(self.prefix))
        if total is None:
            return self.emit(Op.FILL, attributes=(0.0, state.type.width))
        return str(total.operand)

    # What the rows of the table write with.

    def emit(self, op: Op, *operands: Operand, attributes: Attributes = ()) -> str:
        """Write an operation, and give the name of its value."""
        types = tuple(self.types[o] if isinstance(o, str) else None for o in operands)
        base = name = f"{self.prefix}{op.value}"
        count = 0
        while name in self.types:
            count += 1
            name = f"{base}_{count}"
        self.types[name] = OPS[op].rule(types, attributes)
        self.by_name[name] = Operation(name, op, operands, attributes, self.types[name])
        self.body.append(self.by_name[name])
        return name

    def kind(self, operand: Operand) -> str:
        """Give the kind of an operand."""
        return self.types[operand].kind if isinstance(operand, str) else "number"

    # Gradients on their way back.

    def _add(self, operand: Operand, gradient: Term) -> None:
        self.whole.setdefault(str(operand), []).append(gradient)

    def _total(self, name: str) -> Term | None:
        """Sum the gradients that have come to a value."""
        return _sum(self._terms(name))

    def _terms(self, name: str) -> list[Term]:
        terms = list(self.whole.get(name, ()))
        if name in self.pieces:
            terms += self._joined(self.pieces[name], self.types[name].width)
        return terms

    def _joined(self, pieces: list[tuple[int, int, Term]], width: int) -> Iterator[Term]:
        """Put the gradients of slices side by side, 0 between them; those that overlap, apart."""
        waiting = sorted(pieces, key=lambda piece: piece[:2])
        while waiting:
            row: list[Operand] = []
            end, left = 0, []
            for begin, stop, term in waiting:
                if begin < end:
                    left.append((begin, stop, term))
                    continue
                if begin > end:
                    row.append(self.emit(Op.FILL, attributes=(0.0, begin - end)))
                row.append(term.operand)
                end = stop
            if end < width:
                row.append(self.emit(Op.FILL, attributes=(0.0, width - end)))
            yield Term(self, self.emit(Op.CONCAT, *row) if len(row) > 1 else row[0])
            waiting = left

    def _through(self, operation: Operation, gradient: Term) -> None:
        """Pass a gradient from a result to its operands."""
        if operation.op is Op.CONCAT:
            begin = 0
            for operand in operation.operands:
                end = begin + self.types[str(operand)].width
                self._add(operand, gradient.apply(Op.SLICE, attributes=(begin, end)))
                begin = end
            return
        if operation.op in (Op.MATMUL, Op.MATMUL_T):
            self._matrix(operation, gradient)
            if operation.operands[0] in self.inputs:
                self._of_input(operation, gradient)
                return
        result = Term(self, self._known(operation.name), operation.attributes)
        operands = [Term(self, self._known(o)) for o in operation.operands]
        passed = ADJOINT[operation.op](gradient, result, *operands)
        for operand, term in zip(operation.operands, passed, strict=True):
            if term is None or not isinstance(operand, str):
                continue
            if self.types[operand].kind == "fixed":
                self._of_fixed(operand, term)
            elif operation.op is Op.SLICE:
                begin, end = map(int, operation.attributes)
                self.pieces.setdefault(operand, []).append((begin, end, term))
            else:
                self._add(operand, term)

    def _of_constant(self, name: str) -> None:
        """Give what adds up over time: of an outer product its factors, which are far smaller."""
        terms = self._terms(name)
        sides = [self._factors(str(term.operand)) for term in terms]
        self.gradients += [
            Gradient(name, "outer", right, left) for left, right in filter(None, sides)
        ]
        rest = _sum([term for term, found in zip(terms, sides, strict=True) if not found])
        if rest is not None:
            self.gradients.append(Gradient(name, "constant", str(rest.operand)))

    def _factors(self, name: str) -> tuple[str, str] | None:
        """Give the two values whose outer product a value is, if it is one."""
        product = self.by_name.get(name)
        if product is None or product.op is not Op.MUL:
            return None
        factors = [self.by_name.get(str(operand)) for operand in product.operands]
        for one, other in (factors, factors[::-1]):
            if one is None or other is None or not one.op is other.op is Op.EXPAND:
                return None
            left, right = (expand.attributes for expand in (one, other))  # outer, count, inner
            # left repeats each of its numbers, right all of them one after the other
            if left[2] == right[0] == 1 and left[:2] == right[1:]:
                return str(one.operands[0]), str(other.operands[0])
        return None

    def _of_fixed(self, operand: str, term: Term) -> None:
        """Give what adds up to the gradient of a vector, or of a number: one for each step then."""
        if self.types[operand].shape:
            self.gradients.append(Gradient(operand, "vector", str(term.operand)))
            return
        width = self.types[str(term.operand)].width
        total = term if width == 1 else term.apply(Op.SUM, attributes=(1, width, 1))
        self.gradients.append(Gradient(operand, "scalar", str(total.operand)))

    def _matrix(self, operation: Operation, gradient: Term) -> None:
        value, matrix = map(str, operation.operands)
        self._known(value)
        sides = (value, str(gradient.operand))
        left, right = sides if operation.op is Op.MATMUL else sides[::-1]
        self.gradients.append(Gradient(matrix, "matrix", right, left))

    def _of_input(self, operation: Operation, gradient: Term) -> None:
        """Leave the gradient of an input before a matrix to a product after the loop."""
        value, matrix = map(str, operation.operands)
        how = "operand" if operation.op is Op.MATMUL else "operand of turned"
        self.gradients.append(Gradient(value, how, str(gradient.operand), matrix))

    def _known(self, operand: Operand) -> Operand:
        """Give a forward value as an operand; masks are not stored but made again."""
        if not isinstance(operand, str) or self.types[operand].kind == "fixed":
            return operand
        if self.types[operand].kind == "rows":
            self.read[operand] = Value(operand, self.types[operand])
            return operand
        if operand not in self.masks:
            made = self.by_name[operand]
            operands = (self._known(o) for o in made.operands)
            self.masks[operand] = self.emit(made.op, *operands, attributes=made.attributes)
        return self.masks[operand]


def _sum(terms: list[Term]) -> Term | None:
    total = terms[0] if terms else None
    for term in terms[1:]:
        total = total + term if total is not None else term
    return total
