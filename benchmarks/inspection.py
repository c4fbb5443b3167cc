"""What it takes to look inside a model: seconds of the processor's time, and memory.

    OMP_NUM_THREADS=1 python benchmarks/inspection.py

A stack of LSTMs gives the mean square of its outputs as a loss; the doctor looks at it as at any
model, with gradients by every state, gates and reach, and the page about it is drawn.
"""

import argparse
import resource
import time
from collections.abc import Callable

import torch

from measure import commit, machine
from unrolled import Recurrent, zoo
from unrolled.inspect import page
from unrolled.inspect.doctor import examine, treat
from unrolled.inspect.pictures import sections


def main() -> None:
    """Look inside, and print what it took."""
    parser = argparse.ArgumentParser(description="Measure an inspection.")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=512, help="units, and features of the input")
    parser.add_argument("--time", type=int, default=512, help="steps")
    parser.add_argument("--batch", type=int, default=32, help="sequences")
    parser.add_argument("--backend", default="auto", help="as in `unroll`")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    hidden = arguments.hidden
    model = Recurrent(zoo.LSTM, hidden, hidden, layers=arguments.layers, backend=arguments.backend)
    xs = torch.randn(arguments.time, arguments.batch, hidden)
    print(f"commit {commit()}, {machine()}, {torch.get_num_threads()} threads of torch")

    def look() -> str:
        examination = examine(lambda: model(xs)[0].square().mean(), model)
        findings = treat(examination)
        return page.render(page.Page("Inside", "", {}, sections(examination, findings)))

    print(f"before: {memory():.2f} GiB")
    timed("first look, with compiling", look)
    timed("second look", look)


def timed(name: str, look: Callable[[], str]) -> None:
    """Run it, and print the time of the processor, of the clock, and the largest memory so far."""
    clock, processor = time.perf_counter(), time.process_time()
    size = len(look())
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    print(
        f"{name}: {processor:.1f} s of the processor, {clock:.1f} s on the clock, "
        f"{memory():.2f} GiB at most, a page of {size / 1e6:.2f} MB"
    )


def memory() -> float:
    """Give the largest memory of this process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
