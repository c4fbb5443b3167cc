import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unrolled.layers import torch_nn as ours


class Tagger(nn.Module):
    """A model as others write them, for torch.nn's LSTM or for ours."""

    def __init__(self, package: Any) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8, padding_idx=0)
        self.lstm = package.LSTM(
            8, 6, num_layers=2, bidirectional=True, batch_first=True, dropout=0.3
        )
        self.head = nn.Linear(12, 4)
        for name, parameter in self.lstm.named_parameters():
            if "weight_hh" in name:
                nn.init.orthogonal_(parameter)
            elif "weight_ih" in name:
                nn.init.xavier_uniform_(parameter)
            elif "bias" in name:
                nn.init.zeros_(parameter)
                size = parameter.shape[0]
                parameter.data[size // 4 : size // 2].fill_(1.0)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        self.lstm.flatten_parameters()
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embedding(tokens), lengths, batch_first=True, enforce_sorted=False
        )
        ys, (h, _) = self.lstm(packed)
        ys, _ = nn.utils.rnn.pad_packed_sequence(ys, batch_first=True)
        return self.head(ys).mean(1) + self.head(torch.cat([h[-2], h[-1]], -1))


def trained(package: Any) -> tuple[nn.Module, list[float]]:
    torch.manual_seed(5)
    model = copy.deepcopy(Tagger(package))
    tokens, lengths = torch.randint(1, 20, (4, 7)), torch.tensor([3, 7, 1, 5])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses: list[float] = []
    for _ in range(3):
        loss = nn.functional.cross_entropy(model(tokens, lengths), torch.tensor([0, 1, 2, 3]))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        losses.append(loss.item())
    return model, losses


def test_a_model_written_for_torch_trains_to_the_same_weights_and_its_file_loads():
    theirs, expected = trained(nn)
    mine, got = trained(ours)
    assert got == pytest.approx(expected, abs=1e-5)
    file = io.BytesIO()
    torch.save(mine.state_dict(), file)
    file.seek(0)
    loaded = Tagger(nn)
    loaded.load_state_dict(torch.load(file, weights_only=True), strict=True)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, rtol=1e-3, atol=1e-4)
