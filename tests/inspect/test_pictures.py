"""What the doctor looked at comes out as a page; attention is seen where it happens."""

import torch
from torch import nn

from unrolled import Recurrent, zoo
from unrolled.inspect.doctor import examine, treat
from unrolled.inspect.findings import Finding
from unrolled.inspect.looks import Looked, looking
from unrolled.inspect.page import Page, Section, Table, render
from unrolled.inspect.pictures import sections
from unrolled.inspect.positions import loss_by_position
from unrolled.inspect.reading import looks
from unrolled.layers.attending import Bahdanau, Luong


def test_every_picture_has_its_section() -> None:
    layers = Recurrent(zoo.LSTM, 3, 5, layers=2, backend="eager")
    xs, lengths = torch.randn(12, 4, 3), [12, 10, 12, 11]
    seen = examine(lambda: layers(xs, lengths=lengths)[0].pow(2).mean(), layers)
    losses = loss_by_position(layers(xs, lengths=lengths)[0].pow(2).mean(2), lengths)
    found = sections(seen, [Finding("lag", "a <b> title", "", "", {"lag": 3.0})], (), losses)
    assert [section.heading for section in found] == [
        "What the doctor says",
        "How far it reaches back",
        "Gates",
        "The size of its states",
        "Where the loss is",
    ]
    html = render(Page("Inside", "", sections=found))
    assert "a &lt;b&gt; title" in html and "layer 1 reaches back" in html
    assert "Gradient of the loss: layer 0" in html and "layer 1: f" in html
    (gates,) = (block for block in found[2].blocks if isinstance(block, Table))
    forget = next(row for row in gates.rows if row[0] == "layer 0: f")
    assert forget[4] == "c" and 1 < float(forget[5]) <= float(forget[6]) and forget[7] == "1.00"


def test_a_healthy_examination_says_so() -> None:
    layers = Recurrent(zoo.Elman, 3, 5, backend="eager")
    xs = torch.randn(4, 2, 3)  # too short to tell how far it reaches
    seen = examine(lambda: layers(xs)[0].pow(2).mean(), layers)
    html = render(Page("Inside", "", sections=sections(seen, treat(seen))))
    assert "Nothing that it knows is wrong." in html and "too short to tell" in html


def test_attention_is_seen_after_the_recurrence_and_inside_it() -> None:
    for kind in (Luong, Bahdanau):
        attending = kind(nn.GRUCell, 3, 4, values=6)
        memory = attending.attention.memory(torch.randn(7, 2, 6), lengths=[7, 4])
        xs, state = torch.randn(5, 2, 3), {"h": torch.zeros(1, 2, 4)}
        with looking(attending) as seen:
            with torch.no_grad():
                attending(xs, state, memory)
            _, _, _, weights = attending(xs, state, memory, weights=True)
        assert weights is not None
        torch.testing.assert_close(seen[0].weights[:5], weights.detach())
        assert 1 <= seen[0].breadth[:, 1].min() and seen[0].breadth[:, 1].max() <= 4


def test_a_single_look_goes_over_nothing_again() -> None:
    for steps in (1, 2):
        looked = Looked("pooling", torch.full((steps, 3, 4), 0.25), torch.ones(3, 4).bool())
        html = render(Page("", "", sections=[Section("", list(looks([looked], None)))]))
        assert "nan%" not in html and ("gone over again" in html) == (steps > 1)


def test_the_interval_of_a_loss_is_a_band() -> None:
    layers = Recurrent(zoo.Elman, 3, 5, backend="eager")
    seen = examine(lambda: layers(torch.randn(4, 2, 3))[0].pow(2).mean(), layers)
    for rows in (1, 3):
        losses = loss_by_position(torch.rand(4, rows))
        html = render(Page("", "", sections=sections(seen, [], (), losses)))
        assert ("95 % interval of the mean" in html) == (rows > 1)
