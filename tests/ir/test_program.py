import re

import pytest

from unrolled.errors import ProgramError
from unrolled.ir import OPS, Op, parse, program, verify

GATED = """program float32
input  a: rows 6
constant m: rows 3
state  h: rows 3
fixed  U: 3x6
fixed  R: 3x1x2
fixed  b: 6
fixed  s: ()
u = matmul h, U : rows 6
v = matmul h, R : rows 6
w = matmul_t v, R : rows 3
t = add u, a : rows 6
t_1 = add t, b : rows 6
f_1 = slice[0, 3] t_1 : rows 3
f = sigmoid f_1 : rows 3
n = clamp[-1.0, inf] w : rows 3
k = sub 1.0, f : rows 3
q = mul k, n : rows 3
p = gt q, -0.5 : mask 3
h_1 = where p, q, m : rows 3
h_2 = mul h_1, s : rows 3
e = sum[1, 3, 1] h_2 : rows 1
e_1 = expand[1, 3, 1] e : rows 3
z = fill[0.0, 2] : rows 2
y = concat e_1, z : rows 5
output y = y
output f = f
next   h = h_2"""


def test_a_program_is_its_text() -> None:
    assert str(verify(parse(GATED))) == GATED


def test_the_text_in_the_head_of_the_file_is_a_program() -> None:
    block = (program.__doc__ or "").split("::\n\n")[1].split("\n\n")[0]
    text = "\n".join(line.strip() for line in block.splitlines())
    assert str(verify(parse(text))) == text


def test_remarks_and_empty_lines_are_no_part_of_it() -> None:
    remarks = GATED.replace("rows 6\n", "rows 6  # a remark\n\n")
    assert parse(remarks) == parse(GATED)


def test_every_operation_has_a_row() -> None:
    assert list(OPS) == list(Op)


BROKEN = {
    "undefined": ("f = sigmoid f_1", "f = sigmoid f_9", "f_9 is not given before it is read"),
    "twice": ("k = sub", "f = sub", "f is given twice: expected every name once"),
    "keyword": ("m: rows", "next: rows", "'next' is no name"),
    "width": ("h_1 = where p, q, m", "h_1 = where p, q, a", "rows 6 beside mask 3"),
    "vector": ("t, b : rows 6", "h, b : rows 3", "fixed 6 beside rows 3: expected () or the same"),
    "matrix": ("add t, b", "add t, U", "fixed 3x6 beside rows 6"),
    "no-rows": ("mul h_1, s", "mul 2.0, s", "no operand has rows: expected at least one"),
    "mask": ("where p, q, m", "where q, q, m", "rows 3 as operand: expected mask"),
    "number-as-mask": ("where p, q, m", "where 1.0, q, m", "stands for truth values"),
    "arity": ("sigmoid f_1", "sigmoid f_1, f_1", "2 operands, expected 1"),
    "attributes": ("clamp[-1.0, inf]", "clamp[-1.0]", "expected the attributes [low, high]"),
    "matmul": ("matmul h, U", "matmul a, U", "rows 6 times fixed 3x6: expected rows 3"),
    "blocks": ("matmul h, R", "matmul a, R", "rows 6 times fixed 3x1x2: expected rows 3"),
    "transposed": ("matmul_t v, R", "matmul_t h, R", "expected rows 6"),
    "by-rows": ("matmul h, U", "matmul h, h", "rows 3 as operand 1: expected fixed"),
    "slice": ("slice[0, 3]", "slice[4, 7]", "slice [4, 7] of rows 6"),
    "reduction": ("sum[1, 3, 1]", "sum[1, 2, 1]", "rows 3 seen as [1, 2, 1]: expected width 2"),
    "type": ("f_1 : rows 3", "f_1 : rows 4", "gives rows 3: expected the type that is written"),
    "state": ("next   h = h_2", "next   h = y", "next h = y has rows 5: expected rows 3"),
    "no-successor": ("\nnext   h = h_2", "", "the states and their successors differ"),
    "output": ("output f = f", "output f = p", "output f = p: expected rows"),
    "number": ("output f = f", "output f = 1.0", "is a number: expected the name of a value"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rule_is_named(case: str) -> None:
    before, after, message = BROKEN[case]
    assert before in GATED
    with pytest.raises(ProgramError, match=re.escape(message)):
        verify(parse(GATED.replace(before, after)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the text is no program"),
        ("program float32\nh : 3", "'h : 3' is no line of a program"),
        ("program float32\ng = sinh h : rows 3", "has the operation 'sinh'"),
        ("program float32\nstate  h: 3", "'3' is no type"),
        ("program float32\nnext   h = 3x", "'3x' is no operand"),
    ],
    ids=["empty", "line", "operation", "type", "operand"],
)
def test_a_text_that_cannot_be_read_is_named(text: str, message: str) -> None:
    with pytest.raises(ProgramError, match=re.escape(message)):
        parse(text)
