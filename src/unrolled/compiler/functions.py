"""What a step does with a `torch.autograd.Function` of its own, such as a spike.

What it gives is what its forward computes, and its gradient is what its backward says. A program
can have that where the backward hands the gradient on number by number, times a slope: then it is
`surrogate`, with the slope that the backward gives for a gradient of ones. Whether it is so is
tried with numbers; the other functions have the gradient of no operation, and the step is refused.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from threading import get_ident
from typing import Any

import torch
from torch import Tensor
from torch.autograd import function as autograd

Function = type[Any]
NEAR = 1e-4
SIZES = (0.1, 1.0, 10.0, 100.0)  # of the numbers that it is tried with
WIDE = 1e3  # gradients that are tried: up to so large, and as small


class Functions:
    """The functions of one step: first they are tried with numbers, then they are recorded."""

    def __init__(self) -> None:
        self.scales: dict[str, bool] = {}  # by name: whether each scales its gradient

    @contextmanager
    def tried(self) -> Iterator[None]:
        """Look at every function that is applied to numbers."""
        with _instead(self._try):
            yield

    @contextmanager
    def recorded(
        self,
        within: Callable[[str], AbstractContextManager[None]],
        with_slope: Callable[..., Tensor],
    ) -> Iterator[None]:
        """Record every function that is applied.

        Args:
            within: entered, with its name, by what applies a function that cannot be recorded.
            with_slope: does what `surrogate` does.
        """

        def apply(function: Function, given: Sequence[Any]) -> Any:
            if self.scales.get(_name(function), False):
                return _Applied(function, given).whole(with_slope)
            with within(function.__name__):
                return _Applied(function, given).result

        with _instead(apply):
            yield

    def _try(self, function: Function, given: Sequence[Any]) -> Any:
        applied, name = _Applied(function, given), _name(function)
        try:
            scales = all(_Applied(function, other).scales() for other in _alike(given))
        except Exception:  # it is somebody's code, on a context that is not torch's
            scales = False
        self.scales[name] = scales and self.scales.get(name, True)
        return applied.result


class _Context(autograd.FunctionCtx):
    """What a forward leaves for its backward."""

    to_save: Sequence[Any] = ()
    dirty_tensors: Sequence[Tensor] = ()
    non_differentiable: Sequence[Tensor] = ()

    def __init__(self, given: Sequence[Any]) -> None:
        self.needs_input_grad = tuple(map(_moves, given))

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        return tuple(self.to_save)


class _Applied:
    """One function, applied once."""

    def __init__(self, function: Function, given: Sequence[Any]) -> None:
        self.function, self.given, self.context = function, given, _Context(given)
        with torch.no_grad():
            if autograd._is_setup_context_defined(function.setup_context):
                self.result = function.forward(*given)
                function.setup_context(self.context, tuple(given), self.result)
            else:
                self.result = function.forward(self.context, *given)
        self.results = self.result if isinstance(self.result, tuple) else (self.result,)

    def scales(self) -> bool:
        """Tell whether the backward gives multiples of its gradient, number by number."""
        if self.context.dirty_tensors:
            return False
        for place, result in self._moving():
            signs, sizes = torch.randn_like(result).sign(), torch.rand_like(result) * 2 - 1
            drawn = signs * WIDE**sizes
            ones = self._slopes(place, torch.ones_like(result))
            others = self._slopes(place, drawn.clone())
            for own, slope, other in zip(self.given, ones, others, strict=False):
                if not _moves(own) or (slope is None and other is None):
                    continue
                if slope is None or other is None:
                    return False
                if any(_kind(tensor) != _kind(result) for tensor in (own, slope, other)):
                    return False
                if not torch.allclose(other, slope * drawn, NEAR, NEAR, equal_nan=True):
                    return False
        return True

    def whole(self, with_slope: Callable[..., Tensor]) -> Any:
        """Give the results with their gradients."""
        if not torch.is_grad_enabled():
            return self.result
        results = self._with_slopes(with_slope)
        if any(saved is result for saved in self.context.to_save for result in self.results):
            instead = dict(zip(map(id, self.results), results, strict=True))
            self.context.to_save = [instead.get(id(t), t) for t in self.context.to_save]
            results = self._with_slopes(with_slope)  # the slope moves as the result does
        return tuple(results) if isinstance(self.result, tuple) else results[0]

    def _with_slopes(self, with_slope: Callable[..., Tensor]) -> list[Any]:
        results = list(self.results)
        for place, result in self._moving():
            own = any(result is value for value in self.given)
            found = result.detach() if own else result
            slopes = self._slopes(place, torch.ones_like(result))
            for value, slope in zip(self.given, slopes, strict=False):  # None may stand behind
                if _moves(value) and slope is not None:
                    found = with_slope(found, value, slope)
            results[place] = found
        return results

    def _moving(self) -> list[tuple[int, Tensor]]:
        """Give the results that have a gradient, with their places."""
        still = set(map(id, self.context.non_differentiable))
        places = enumerate(self.results)
        return [(place, r) for place, r in places if _moves(r) and id(r) not in still]

    def _slopes(self, place: int, gradient: Tensor) -> Sequence[Any]:
        """Give what the backward gives for a gradient of one result, none of the others."""
        given = [torch.zeros_like(r) if isinstance(r, Tensor) else None for r in self.results]
        given[place] = gradient
        with torch.enable_grad():
            found = self.function.backward(self.context, *given)
        return found if isinstance(found, tuple) else (found,)


@contextmanager
def _instead(apply: Callable[[Function, Sequence[Any]], Any]) -> Iterator[None]:
    """Have this thread call something else for `Function.apply`, bound before or not.

    Where its own code asks its parents for `apply`, it finds this one first.
    """
    parent: Any = autograd._SingleLevelFunction
    thread = get_ident()
    before = vars(parent).get("apply")

    def chosen(function: Function, *given: Any) -> Any:
        if get_ident() == thread:
            return apply(function, given)
        return super(parent, function).apply(*given)

    parent.apply = classmethod(chosen)
    try:
        yield
    finally:
        if before is None:
            del parent.apply
        else:
            parent.apply = before


def _alike(given: Sequence[Any]) -> Iterator[list[Any]]:
    """Give arguments of other numbers: a slope may be nothing at some."""
    yield list(given)
    for size in SIZES:
        yield [torch.randn_like(value) * size if _moves(value) else value for value in given]


def _moves(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _kind(value: Any) -> tuple[torch.Size, torch.dtype]:
    return value.shape, value.dtype


def _name(function: Function) -> str:
    return f"{function.__module__}.{function.__qualname__}"
