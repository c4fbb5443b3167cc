"""Rows of the table `LOWER` for products: all are one contraction over named dimensions."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from string import ascii_lowercase

from torch.fx import Node

from unrolled.compiler.lowering import Given, Lowering, Plain, Wide
from unrolled.compiler.reductions import reduced
from unrolled.compiler.step import batch_axis, features
from unrolled.ir import Op


@dataclass(frozen=True)
class _Factor:
    """A value whose dimensions have a letter each, the batch apart."""

    value: Wide | Plain
    letters: str
    batch: str  # the batch's letter; none for a fixed value

    @property
    def sizes(self) -> dict[str, int]:
        return dict(zip(self.letters, self.value.dims, strict=True))

    def without(self, letters: set[str]) -> "_Factor":
        """Leave out dimensions of size 1."""
        kept = [i for i, letter in enumerate(self.letters) if letter not in letters]
        dims = tuple(self.value.dims[i] for i in kept)
        value = self.value
        seen = Plain(value.node, dims) if isinstance(value, Plain) else Wide(value.name, dims, 0)
        return _Factor(seen, "".join(self.letters[i] for i in kept), self.batch)


def linear(low: Lowering, node: Node, a: object, weight: object, bias: object = None) -> Wide:
    """``a W^T + b``, over the last dimension."""
    left, right = low.given(a), low.given(weight)
    before = ascii_lowercase[: len(features(node))]
    product = _named(low, node, (left, before + "Z"), (right, "YZ"), before + "Y")
    if bias is None:
        return product
    added = low.given(bias)
    if not isinstance(added, Plain):
        raise low.error(node, "its bias depends on the row")
    seen = Plain(added.node, (1,) * (len(product.dims) - 1) + added.dims)
    vector = low.view(seen, range(len(seen.dims)), product.dims, (prod(product.dims),))
    return Wide(low.emit(Op.ADD, product.name, vector), product.dims, product.axis)


def matmul(low: Lowering, node: Node, a: object, b: object) -> Wide:
    """A product of matrices, vectors, or stacks of them, as in `torch.matmul`."""
    left, right = low.given(a), low.given(b)
    ranks = [_rank(value) for value in (left, right)]
    stack = ascii_lowercase[: max(0, max(ranks) - 2)]
    own = [stack[len(stack) - max(0, rank - 2) :] for rank in ranks]
    first = own[0] + ("YZ" if ranks[0] > 1 else "Z")
    second = own[1] + ("ZX" if ranks[1] > 1 else "Z")
    out = stack + ("Y" if ranks[0] > 1 else "") + ("X" if ranks[1] > 1 else "")
    return _named(low, node, (left, first), (right, second), out)


def einsum(
    low: Lowering, node: Node, equation: str, operands: Sequence[object], **_: object
) -> Wide:
    """A product over named dimensions, of two operands."""
    given, _arrow, out = equation.replace(" ", "").partition("->")
    letters = given.split(",")
    if len(operands) != 2 or "." in equation or len(set(out)) < len(out) or not out:
        raise low.error(node, "a program has einsum of two operands, its result written out")
    left, right = (low.given(operand) for operand in operands)
    return _named(low, node, (left, letters[0]), (right, letters[1]), out)


def _rank(value: Given) -> int:
    if isinstance(value, (int, float)):
        return 0
    return len(value.dims) + isinstance(value, Wide)


def _named(
    low: Lowering, node: Node, left: tuple[Given, str], right: tuple[Given, str], out: str
) -> Wide:
    """Contract two operands whose every dimension has a letter, the batch too."""
    a, b = (_factor(low, node, *operand) for operand in (left, right))
    batch = a.batch or b.batch
    if (a.batch and b.batch and a.batch != b.batch) or batch not in out:
        raise low.error(node, "it mixes the rows of a batch")
    a, b = _matched(low, node, a, b, batch)
    result = out.replace(batch, "")
    if isinstance(a.value, Plain):
        a, b = b, a
    single = set(a.letters) ^ set(b.letters)
    if not single <= set(result) or len(set(a.letters)) < len(a.letters):
        raise low.error(node, "it sums or repeats a dimension of one operand")
    product, letters = (_by_fixed if isinstance(b.value, Plain) else _by_rows)(low, a, b, result)
    ordered = low.permuted(product, [letters.index(letter) for letter in result])
    return Wide(ordered.name, features(node), batch_axis(node) or 0)


def _factor(low: Lowering, node: Node, value: Given, letters: str) -> _Factor:
    if isinstance(value, (int, float)) or len(letters) != _rank(value):
        raise low.error(node, "its operands do not fit its equation")
    if isinstance(value, Plain):
        return _Factor(value, letters, "")
    name = low.as_rows(value)
    own = letters[: value.axis] + letters[value.axis + 1 :]
    return _Factor(Wide(name, value.dims, value.axis), own, letters[value.axis])


def _matched(
    low: Lowering, node: Node, a: _Factor, b: _Factor, batch: str
) -> tuple[_Factor, _Factor]:
    """Leave out what one operand has once where the other has it often, as broadcasting does."""
    sizes = a.sizes, b.sizes
    narrow = [
        {
            letter
            for letter, size in own.items()
            if size == 1 and (letter == batch or other.get(letter, 1) != 1)
        }
        for own, other in (sizes, sizes[::-1])
    ]
    a, b = a.without(narrow[0]), b.without(narrow[1])
    if batch in a.letters + b.letters:
        raise low.error(node, "it treats the rows of a batch differently")
    return a, b


def _by_fixed(low: Lowering, a: _Factor, b: _Factor, result: str) -> tuple[Wide, str]:
    """Multiply rows by matrices: a block for each place in what the two share and sum not."""
    assert isinstance(a.value, Wide) and isinstance(b.value, Plain)
    shared = [c for c in a.letters if c in b.letters]
    alone = [c for c in a.letters if c not in b.letters]
    blocks = [c for c in shared if c in result]
    summed = [c for c in shared if c not in result]
    new = [c for c in b.letters if c not in a.letters]
    sizes = a.sizes | b.sizes
    count, k, n = (prod(sizes[c] for c in part) for part in (alone + blocks, summed, new))
    order = [b.letters.index(c) for c in blocks + summed + new]
    spread = tuple(sizes[c] for c in alone + blocks + summed + new)
    matrix = low.view(b.value, order, spread, (k, n) if count == 1 else (count, k, n))
    value = low.permuted(a.value, [a.letters.index(c) for c in alone + blocks + summed])
    name = low.emit(Op.MATMUL, value.name, matrix)
    letters = "".join(alone + blocks + new)
    return Wide(name, tuple(sizes[c] for c in letters), 0), letters


def _by_rows(low: Lowering, a: _Factor, b: _Factor, result: str) -> tuple[Wide, str]:
    """Multiply two values of each row, as a sum of products."""
    assert isinstance(a.value, Wide) and isinstance(b.value, Wide)
    sizes = a.sizes | b.sizes
    blocks = [c for c in a.letters if c in b.letters and c in result]
    alone = [c for c in a.letters if c not in b.letters]
    summed = [c for c in a.letters if c in b.letters and c not in result]
    new = [c for c in b.letters if c not in a.letters]
    letters = blocks + alone + summed + new
    whole = tuple(sizes[c] for c in letters)
    names = []
    for factor in (a, b):
        assert isinstance(factor.value, Wide)
        own = [c for c in letters if c in factor.letters]
        value = low.permuted(factor.value, [factor.letters.index(c) for c in own])
        dims = tuple(sizes[c] if c in own else 1 for c in letters)
        names.append(low.spread(Wide(value.name, dims, 0), whole))
    product = Wide(low.emit(Op.MUL, *names), whole, 0)
    total = reduced(low, Op.SUM, product, [letters.index(c) for c in summed])
    left = [c for c in letters if c not in summed]
    return Wide(total.name, tuple(sizes[c] for c in left), 0), "".join(left)
