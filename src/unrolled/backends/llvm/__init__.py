"""The LLVM backend: a program becomes machine code at run time, with no compiler on the machine.

    plan       Program -> nests of loops, and what lies in memory between them
    levels     when each value can be had, and what has to be stored for that
    in_place   states that are written where they are read
    products   which matmuls share a loop, how they are cut into panels and passes
    arguments  where everything lies: in the table of arguments, in the buffers
    emit       Plan -> LLVM IR: threads take parts of the rows, time runs inside
    packing    the weights, laid out panel by panel
    nests      loops over rows and units, and what a thread takes of them
    blocks     nests with matmuls: some units at a time, then what follows from them
    spots      what a nest does for one vector of one row
    matmul     the register tile: the instruction that multiplies
    tiles      the same of bfloat16 in tiles, which AMX multiplies
    dots       the same for a processor without AMX, whose vectors do
    pieces     numbers as one, two or three of bfloat16
    gemm       products of two matrices, around the loop: threads take blocks of them
    factors    what such a product is made of
    tiled, tiling   a block of it in tiles
    registers  a block of it in registers
    transposing    squares of vectors, turned over
    pointwise, vector_math, special_math, reductions, views   the operations, for one vector
    jit, cache LLVM IR -> object code -> functions
    memory     blocks of results, used again
    table      the arguments of one call: addresses, strides, which thread has which rows
    kernel     all of it behind one call with tensors

A step is followed from `kernel.Kernel.__init__` down this list.
"""
