"""Writing LLVM IR: vectors of one width, addresses, and loops that carry values."""

import struct
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from unrolled.backends.llvm.target import FLOATS, Float, Target

Value = Any
"""A value of LLVM's; llvmlite annotates nothing, and its types would pass for None."""

INDEX = ir.IntType(64)
BYTE = ir.IntType(8)
POINTER = ir.PointerType()


class _BFloat16(ir.HalfType):
    """The type's name in LLVM; llvmlite has none for it."""

    intrinsic_name = "bf16"

    def __str__(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return "bfloat"


_BFloat16._create_instance()


FLOAT_TYPES: dict[str, ir.Type] = {"float32": ir.FloatType(), "float64": ir.DoubleType()}


class Code:
    """The body of one function, written from top to bottom.

    A *vector* is `lanes` numbers of one float type, a *mask* as many bits, an *address* a pointer.
    Sizes and counts are 64 bit integers; Python integers are taken where those are.
    """

    def __init__(self, builder: ir.IRBuilder, target: Target, kind: str) -> None:
        self.builder: Any = builder
        self.target, self.kind = target, kind
        self.float: Float = FLOATS[kind]
        self.lanes = target.lanes(self.float)
        self.number = FLOAT_TYPES[kind]
        self.vector = ir.VectorType(self.number, self.lanes)
        self.integer = ir.IntType(8 * self.float.bytes)
        self.integers = ir.VectorType(self.integer, self.lanes)
        self.truth = ir.IntType(1)
        self.mask_type = ir.VectorType(self.truth, self.lanes)
        self.positions = ir.VectorType(ir.IntType(32), self.lanes)
        self.constants: dict[str, Value] = {}

    @classmethod
    def function(
        cls, module: ir.Module, name: str, target: Target, kind: str
    ) -> "tuple[Code, Value]":
        """Begin a function that takes one pointer; give its code and the pointer."""
        signature = ir.FunctionType(ir.VoidType(), [POINTER])
        function = ir.Function(module, signature, name=name)
        function.attributes.add("nounwind")
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        return cls(builder, target, kind), function.args[0]

    def call(
        self,
        name: str,
        types: Sequence[ir.Type],
        write: "Callable[[Code, list[Value]], None]",
        arguments: Sequence[Value],
    ) -> None:
        """Call a function of this module's own; at its first call, `write` writes it."""
        module = self.builder.module
        function = module.globals.get(name)
        if function is None:
            signature = ir.FunctionType(ir.VoidType(), types)
            function = ir.Function(module, signature, name=name)
            function.linkage = "internal"
            function.attributes.add("noinline")
            function.attributes.add("nounwind")
            builder = ir.IRBuilder(function.append_basic_block("entry"))
            inner = Code(builder, self.target, self.kind)
            write(inner, list(function.args))
            inner.finish()
        self.builder.call(function, [self.index(a) for a in arguments])

    # Constants

    def index(self, number: "int | Value") -> Value:
        """Give an integer as a value."""
        return ir.Constant(INDEX, number) if isinstance(number, int) else number

    def constant(self, number: float) -> Value:
        """Give a vector of one number, rounded to the type."""
        (rounded,) = (
            struct.unpack("f", struct.pack("f", number)) if self.float.bytes == 4 else (number,)
        )
        return self._everywhere(self.vector, rounded)

    def whole(self, number: int) -> Value:
        """Give a vector of one integer, as wide as the floats."""
        return self._everywhere(self.integers, number)

    def _everywhere(self, type: ir.VectorType, number: Any) -> Value:
        """Give a constant vector of one number: written once, however often it is read."""
        key = f"{type} {number!r}"  # 0.0 and -0.0 are two numbers, and equal
        if key not in self.constants:
            self.constants[key] = ir.Constant(type, number)
        return self.constants[key]

    def spread(self, scalar: Value) -> Value:
        """Give a vector of one scalar."""
        undefined = ir.Constant(ir.VectorType(scalar.type, self.lanes), ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
        zeros = self._everywhere(self.positions, 0)
        return self.builder.shuffle_vector(first, undefined, zeros)

    # Integers and addresses

    def add(self, a: "int | Value", b: "int | Value") -> Value:
        """Add two integers."""
        return self.builder.add(self.index(a), self.index(b))

    def times(self, a: "int | Value", b: "int | Value") -> Value:
        """Multiply two integers."""
        return self.builder.mul(self.index(a), self.index(b))

    def less(self, a: "int | Value", b: "int | Value") -> Value:
        """Say whether a < b, both with a sign."""
        return self.builder.icmp_signed("<", self.index(a), self.index(b))

    def equal(self, a: "int | Value", b: "int | Value") -> Value:
        """Say whether a = b."""
        return self.builder.icmp_signed("==", self.index(a), self.index(b))

    def least(self, a: "int | Value", b: "int | Value") -> Value:
        """Give the smaller of two integers."""
        return self.builder.select(self.less(a, b), self.index(a), self.index(b))

    def at(self, base: Value, numbers: "int | Value", size: int | None = None) -> Value:
        """Give the address `numbers` floats (or things of `size` bytes) behind `base`."""
        width = ir.IntType(8 * (size or self.float.bytes))
        return self.builder.gep(base, [self.index(numbers)], source_etype=width)

    # Memory

    def load(self, address: Value, mask: Value | None = None) -> Value:
        """Load a vector; where the mask is off, 0, and the memory is not touched."""
        if mask is None:
            return self.builder.load(address, align=self.float.bytes, typ=self.vector)
        return self.intrinsic(
            f"llvm.masked.load.v{self.lanes}{self.float.letter}.p0",
            self.vector,
            [address, ir.Constant(ir.IntType(32), self.float.bytes), mask, self.constant(0.0)],
        )

    def store(self, vector: Value, address: Value, mask: Value | None = None) -> None:
        """Store a vector; where the mask is off, the memory is not touched."""
        if mask is None:
            self.builder.store(vector, address, align=self.float.bytes)
            return
        self.intrinsic(
            f"llvm.masked.store.v{self.lanes}{self.float.letter}.p0",
            ir.VoidType(),
            [vector, address, ir.Constant(ir.IntType(32), self.float.bytes), mask],
        )

    def store_past_caches(self, vector: Value, address: Value) -> None:
        """Store a whole vector where one begins in memory, without a look at what was there.

        Others see it after the next `fence`.
        """
        stored = self.builder.store(vector, address, align=self.target.vector_bytes)
        one = self.builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        stored.set_metadata("nontemporal", one)

    def fence(self) -> None:
        """Let others see all that was stored."""
        self.builder.fence("seq_cst")

    def fill(self, address: Value, width: int, vector: Value | None = None) -> None:
        """Store zeros, or a vector again and again."""
        vector = self.constant(0.0) if vector is None else vector

        def body(unit: Value, _: list[Value]) -> list[Value]:
            self.store(vector, self.at(address, unit), self.mask(unit, width))
            return []

        self.loop(0, width, body, step=self.lanes)

    def load_spread(self, address: Value) -> Value:
        """Load one number into every lane."""
        return self.spread(self.load_number(address))

    def load_number(self, address: Value) -> Value:
        """Load one number."""
        return self.builder.load(address, align=self.float.bytes, typ=self.number)

    def store_number(self, number: Value, address: Value) -> None:
        """Store one number."""
        self.builder.store(number, address, align=self.float.bytes)

    def lane(self, vector: Value, lane: int) -> Value:
        """Take one number out of a vector."""
        return self.builder.extract_element(vector, ir.Constant(ir.IntType(32), lane))

    def with_lane(self, vector: Value, number: Value, lane: int) -> Value:
        """Put one number into a vector."""
        return self.builder.insert_element(vector, number, ir.Constant(ir.IntType(32), lane))

    def shuffled(self, a: Value, b: Value, lanes: Sequence[int]) -> Value:
        """Give some lanes of two vectors, those of the second numbered on from the first's."""
        order = ir.Constant(self.positions, list(lanes))
        return self.builder.shuffle_vector(a, b, order)

    def rounded(self, first: Value, second: Value) -> Value:
        """Round two vectors of float32 to bfloat16: all numbers of one, then of the other."""
        name = "llvm.x86.avx512bf16.cvtne2ps2bf16.512"
        type = ir.VectorType(_BFloat16(), 2 * self.lanes)
        return self.builder.bitcast(self.intrinsic(name, type, [second, first]), self.vector)

    def dot(self, sums: Value, a: Value, b: Value) -> Value:
        """Add the products of pairs of bfloat16, as which vectors are read, to sums of float32."""
        type = ir.VectorType(_BFloat16(), 2 * self.lanes)
        pairs = [self.builder.bitcast(vector, type) for vector in (a, b)]
        return self.intrinsic("llvm.x86.avx512bf16.dpbf16ps.512", self.vector, [sums, *pairs])

    def halves_shuffled(self, a: Value, b: Value, order: Sequence[int]) -> Value:
        """Give some halves of the numbers of two vectors, in the order of memory, as a vector."""
        halves = ir.VectorType(ir.IntType(4 * self.float.bytes), 2 * self.lanes)
        apart = [self.builder.bitcast(vector, halves) for vector in (a, b)]
        positions = ir.Constant(ir.VectorType(ir.IntType(32), 2 * self.lanes), list(order))
        return self.builder.bitcast(self.builder.shuffle_vector(*apart, positions), self.vector)

    def folded(self, vector: Value, combine: Callable[[Value, Value], Value]) -> Value:
        """Combine all lanes into each, in pairs of halves."""
        distance = self.lanes // 2
        while distance:
            turned = [(lane + distance) % self.lanes for lane in range(self.lanes)]
            vector = combine(vector, self.shuffled(vector, vector, turned))
            distance //= 2
        return vector

    def room(self, vectors: int) -> Value:
        """Give room for some vectors that is this call's own."""
        with self.builder.goto_entry_block():
            room = self.builder.alloca(self.vector, size=vectors)
        room.align, room.type = self.target.vector_bytes, POINTER
        return room

    def load_index(self, address: Value) -> Value:
        """Load a 64 bit integer."""
        return self.builder.load(address, align=8, typ=INDEX)

    def pointer(self, number: Value) -> Value:
        """Take a number for an address."""
        return self.builder.inttoptr(number, POINTER)

    def prefetch(self, address: Value, *, write: bool = False) -> None:
        """Ask for the cache line of an address, to read it or to write to it."""
        constants = [
            ir.Constant(ir.IntType(32), number) for number in (int(write), 3, 1)
        ]  # read or write, keep, data
        self.intrinsic("llvm.prefetch.p0", ir.VoidType(), [address, *constants])

    def mask(self, first: "int | Value", width: int) -> Value | None:
        """Give the lanes first, first + 1, ... that are below `width`; None if all always are."""
        if width % self.lanes == 0:
            return None
        return self.first_lanes(self.builder.sub(self.index(width), self.index(first)))

    def first_lanes(self, count: Value) -> Value:
        """Give the lanes below `count`."""
        count = self.builder.trunc(count, ir.IntType(32))
        numbers = ir.Constant(self.positions, list(range(self.lanes)))
        return self.builder.icmp_signed("<", numbers, self.spread(count))

    def pause(self) -> None:
        """Leave the processor to whoever shares it, for a moment."""
        if self.target.name in ("avx512", "avx2"):
            self.intrinsic("llvm.x86.sse2.pause", ir.VoidType(), [])

    # Arithmetic

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """Give a * b + c, in one instruction where the machine has it."""
        return self.intrinsic(
            f"llvm.fmuladd.v{self.lanes}{self.float.letter}", self.vector, [a, b, c]
        )

    def unary(self, name: str, a: Value) -> Value:
        """Apply one of LLVM's functions of one vector: fabs, sqrt, nearbyint, ..."""
        return self.intrinsic(f"llvm.{name}.v{self.lanes}{self.float.letter}", self.vector, [a])

    def compare(self, how: str, a: Value, b: Value) -> Value:
        """Compare two vectors; false where one is NaN, but for "!=", which is true there."""
        compare = self.builder.fcmp_unordered if how == "!=" else self.builder.fcmp_ordered
        return compare(how, a, b)

    def intrinsic(self, name: str, result: ir.Type, arguments: Sequence[Value]) -> Value:
        """Call a function that LLVM knows by name."""
        module = self.builder.module
        function = module.globals.get(name) or ir.Function(
            module, ir.FunctionType(result, [argument.type for argument in arguments]), name=name
        )
        return self.builder.call(function, arguments)

    # Control

    def loop(
        self,
        start: "int | Value",
        stop: "int | Value",
        body: Callable[[Value, list[Value]], Sequence[Value]],
        *,
        step: "int | Value" = 1,
        carry: Sequence[Value] = (),
    ) -> list[Value]:
        """Run `body` for start, start + step, ... while below stop.

        `body` writes one pass: it is given the counter and the carried values and gives back the
        values to carry on. What is carried at the end comes back.
        """

        def advance(values: list[Value]) -> Sequence[Value]:
            counter, *carried = values
            return [self.add(counter, step), *body(counter, carried)]

        first = [self.index(start), *carry]
        return self.repeat(lambda values: self.less(values[0], stop), advance, first)[1:]

    def repeat(
        self,
        condition: Callable[[list[Value]], Value],
        body: Callable[[list[Value]], Sequence[Value]],
        carry: Sequence[Value],
    ) -> list[Value]:
        """Run `body` as long as the condition holds, both given the values carried so far."""
        build = self.builder
        before = build.block
        head, inside, behind = (build.append_basic_block(n) for n in ("head", "body", "end"))
        build.branch(head)
        build.position_at_end(head)
        carried = [build.phi(value.type) for value in carry]
        build.cbranch(condition(list(carried)), inside, behind)
        build.position_at_end(inside)
        results = body(list(carried))
        for phi, first, then in zip(carried, carry, results, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(then, build.block)
        build.branch(head)
        build.position_at_end(behind)
        return list(carried)

    def finish(self) -> None:
        """End the function."""
        self.builder.ret_void()
