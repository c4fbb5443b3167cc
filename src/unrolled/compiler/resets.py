"""`with_resets`: Program -> Program, that starts afresh where an input says so."""

from dataclasses import replace

from unrolled.ir import Op, Operand, Operation, Program, Value, mask, rows, verify

RESET = "reset"
"""The input that is 1 where a row starts afresh before the step, 0 elsewhere."""


def start_of(state: str) -> str:
    """Name the constant that a reset puts in the place of a state.

    Example:
        >>> start_of("h")
        'start_h'
    """
    return f"start_{state}"


def with_resets(program: Program) -> Program:
    """Choose, before anything else of a step, between each state and its start.

    Example:
        >>> from unrolled.ir import parse
        >>> print(with_resets(parse('''program float32
        ... state  h: rows 2
        ... h_1 = tanh h : rows 2
        ... next   h = h_1''')))
        program float32
        input  reset: rows 1
        constant start_h: rows 2
        state  h: rows 2
        reset_h_wide = expand[1, 2, 1] reset : rows 2
        reset_h_here = ne reset_h_wide, 0.0 : mask 2
        reset_h = where reset_h_here, start_h, h : rows 2
        h_1 = tanh reset_h : rows 2
        next   h = h_1
    """
    chosen: list[Operation] = []
    names: dict[Operand, Operand] = {}
    for state in program.states:
        width, name = state.type.width, f"reset_{state.name}"
        wide = Operation(f"{name}_wide", Op.EXPAND, (RESET,), (1, width, 1), rows(width))
        here = Operation(f"{name}_here", Op.NE, (wide.name, 0.0), (), mask(width))
        operands = (here.name, start_of(state.name), state.name)
        chosen += [wide, here, Operation(name, Op.WHERE, operands, (), rows(width))]
        names[state.name] = name
    body = [
        replace(operation, operands=tuple(names.get(o, o) for o in operation.operands))
        for operation in program.body
    ]
    return verify(
        replace(
            program,
            inputs=(*program.inputs, Value(RESET, rows(1))),
            constants=(
                *program.constants,
                *(Value(start_of(v.name), v.type) for v in program.states),
            ),
            body=(*chosen, *body),
            outputs=tuple((name, names.get(value, value)) for name, value in program.outputs),
            next=tuple((name, names.get(value, value)) for name, value in program.next),
        )
    )
