"""Complex numbers in a step: each tensor of them is a pair of real ones, from the first.

Programs have real numbers. So whatever a step does with complex ones is written in parts when it is
recorded, a row for each operation; gradients follow from the parts, and are PyTorch's.
"""

from unrolled.compiler.complex.recorded import Pairs

__all__ = ["Pairs"]
