"""Laws of the transcriber: batches, streams, and its loss against a call for each recording."""

import pytest
import torch
from torch.nn import functional as F

from unrolled import zoo
from unrolled.errors import ConfigError, ShapeError
from unrolled.models.transcriber import CTCHead, Listener, Transcriber, least_steps

LENGTHS = [11, 6, 1, 0]


def make(bidirectional: bool) -> Transcriber:
    listener = Listener(5, 6, cell=zoo.GRU, layers=2, stack=3, bidirectional=bidirectional)
    return Transcriber(listener, CTCHead(listener.outputs, 4)).eval()


@pytest.fixture(scope="module")
def both() -> Transcriber:
    return make(bidirectional=True)


def test_a_padded_batch_is_its_recordings_one_by_one(both: Transcriber) -> None:
    frames = torch.full((11, 4, 5), torch.nan)
    recordings = [torch.randn(length, 5) for length in LENGTHS]
    for row, recording in enumerate(recordings):
        frames[: len(recording), row] = recording
    log_probs, steps, _ = both(frames, torch.tensor(LENGTHS))
    assert steps.tolist() == [4, 2, 1, 0]
    for row, recording in enumerate(recordings[:3]):
        alone, [count], _ = both(recording[:, None], torch.tensor([len(recording)]))
        assert torch.allclose(log_probs[:count, row], alone[:, 0], atol=1e-5)
    assert torch.allclose(log_probs.exp().sum(-1), torch.ones(4, 4), atol=1e-5)


def test_a_stream_in_parts_is_the_whole() -> None:
    model, frames = make(bidirectional=False), torch.randn(11, 2, 5)
    whole, *_ = model(frames, torch.tensor([11, 8]))
    first, _, state = model(frames[:6], torch.tensor([6, 6]))
    second, steps, _ = model(frames[6:], torch.tensor([5, 2]), state)
    assert steps.tolist() == [2, 1]
    assert torch.allclose(torch.cat([first, second])[:, 0], whole[:, 0], atol=1e-6)
    assert torch.allclose(second[0, 1], whole[2, 1], atol=1e-6)


def test_the_loss_adds_up_recordings_and_reaches_every_parameter(both: Transcriber) -> None:
    frames, lengths = torch.randn(11, 2, 5), torch.tensor([11, 7])
    targets = [[1, 2], [3]]
    log_probs, steps, _ = both(frames, lengths)
    padded = torch.tensor([[1, 2], [3, 9]])
    loss = both.head.loss(log_probs, steps, padded, torch.tensor([2, 1]))
    alone = [
        F.ctc_loss(
            log_probs[: steps[row], row],
            torch.tensor(target),
            steps[row],
            torch.tensor(len(target)),
            reduction="sum",
        )
        for row, target in enumerate(targets)
    ]
    assert loss.item() == pytest.approx(sum(one.item() for one in alone), rel=1e-5)
    both.zero_grad()
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in both.parameters())


def test_a_target_that_does_not_fit_teaches_nothing(both: Transcriber) -> None:
    assert (least_steps([1, 1, 2]), least_steps([])) == (4, 0)
    log_probs, steps, _ = both(torch.randn(9, 1, 5), torch.tensor([9]))
    loss = both.head.loss(log_probs, steps, torch.tensor([[1, 1, 2]]), torch.tensor([3]))
    assert loss.item() == 0


def test_other_frames_are_refused(both: Transcriber) -> None:
    with pytest.raises(ShapeError, match=r"frames have shape \(4, 1, 6\): expected .*, 5\)"):
        both(torch.zeros(4, 1, 6), torch.tensor([4]))
    with pytest.raises(ConfigError, match="0 frames a step"):
        Listener(5, 6, cell=zoo.GRU, stack=0)
