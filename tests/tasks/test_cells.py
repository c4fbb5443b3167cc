"""Cells as commands name them: what is built, and what is refused with which words."""

import pytest
import torch

from unrolled import unroll, zoo
from unrolled.errors import ConfigError
from unrolled.tasks.cells import find_cell

SAME = {
    "Elman(activation=relu)": lambda i, h: zoo.Elman(i, h, activation="relu"),
    "JANET(longest=784)": lambda i, h: zoo.JANET(i, h, longest=784),
    "WeightDrop(LSTM, 0.25)": lambda i, h: zoo.WeightDrop(zoo.LSTM(i, h), 0.25),
    "WeightDrop(LSTM,rate=2.5e-1)": lambda i, h: zoo.WeightDrop(zoo.LSTM(i, h), 0.25),
    " Zoneout( WeightDrop(GRU, .5), h=0.05 ) ": lambda i, h: zoo.Zoneout(
        zoo.WeightDrop(zoo.GRU(i, h), 0.5), h=0.05
    ),
    "ClockworkRNN(periods=(1, 5))": lambda i, h: zoo.ClockworkRNN(i, h, periods=(1, 5)),
    "WeightDrop(MinGRU, 0.25, only=(W_z))": lambda i, h: zoo.WeightDrop(
        zoo.MinGRU(i, h), 0.25, only=("W_z",)
    ),
    "LayerNormed(LSTM, i, f)": lambda i, h: zoo.LayerNormed(zoo.LSTM(i, h), "i", "f"),
    "Residual(Elman(activation=relu))": lambda i, h: zoo.Residual(
        zoo.Elman(i, h, activation="relu")
    ),
    "MultiHead(WeightDrop(GRU, 0.5), heads=5)": lambda i, h: zoo.MultiHead(
        lambda i, h: zoo.WeightDrop(zoo.GRU(i, h), 0.5), i, h, heads=5
    ),
    "Zoneout(torch.nn:GRUCell, h=0.5)": lambda i, h: zoo.Zoneout(torch.nn.GRUCell(i, h), h=0.5),
}

REFUSED = {
    "nothing": ("", "a name is missing"),
    "a wrong name": ("LTSM", "there is no cell 'LTSM'; choose one of Elman, LSTM"),
    "a wrong name inside": ("Zoneout(LTSM, h=0.1)", "there is no cell 'LTSM'"),
    "no closing bracket": ("Zoneout(LSTM, h=0.1", "a comma or a closing bracket is missing"),
    "no comma": ("Zoneout(LSTM h=0.1)", "a comma or a closing bracket is missing"),
    "more behind": ("LSTM)", "')' is left over"),
    "an open list": ("ClockworkRNN(periods=(1, 2)", "a comma or a closing bracket is missing"),
    "a list of no matrix": ("WeightDrop(LSTM, 0.1, only=(U_k))", "finds no matrix U_k in LSTM"),
    "no cell": ("Zoneout(0.1)", "Zoneout is put around a cell"),
    "no name": ("Elman(relu)", "what Elman is given needs its name: Elman(option=value)"),
    "no option": ("Elman(activation)", "what Elman is given needs its name"),
    "a number as option": ("Elman(2=relu)", "what stands before '=' is no option's name"),
    "an option twice": ("Elman(activation=relu, activation=tanh)", "or is there twice"),
    "an unknown option": ("Elman(colour=red)", "unexpected keyword argument 'colour'"),
    "a value out of range": ("WeightDrop(LSTM, 1.5)", "WeightDrop has the rate 1.5"),
    "an unknown state": ("Zoneout(LSTM, k=0.5)", "give rates for its states h, c"),
    "code": ("__import__('os').system('id')", '"\'" has no meaning there'),
    "no module": ("no_such_module:Cell", "cell 'no_such_module:Cell' cannot be imported"),
    "no such class": ("torch.nn:NoCell", "cell 'torch.nn:NoCell' cannot be imported"),
    "no cell class": ("torch.nn:Linear", "cell 'torch.nn:Linear' cannot be built"),
}


@pytest.mark.parametrize("text", SAME)
def test_a_text_builds_what_python_builds(text: str) -> None:
    found, wanted = find_cell(text)(10, 10), SAME[text](10, 10)
    assert repr(found) == repr(wanted)
    found.load_state_dict(wanted.state_dict())
    xs = torch.randn(4, 3, 10)
    torch.manual_seed(3)
    ys, _ = unroll(found, xs, backend="eager")
    torch.manual_seed(3)
    torch.testing.assert_close(ys, unroll(wanted, xs, backend="eager")[0], rtol=0, atol=0)


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_cell_is_refused(case: str) -> None:
    text, message = REFUSED[case]
    with pytest.raises(ConfigError) as caught:
        find_cell(text)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_finding_a_cell_draws_nothing() -> None:
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    find_cell("Zoneout(WeightDrop(LSTM, 0.5), h=0.05)")
    assert torch.equal(torch.rand(3), wanted)
