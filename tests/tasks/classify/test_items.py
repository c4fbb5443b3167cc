import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from unrolled.errors import DataError
from unrolled.tasks.classify.config import Augmentation, Fields
from unrolled.tasks.classify.data import Classes, known, split
from unrolled.tasks.classify.inputs import Series
from unrolled.tasks.classify.items import Item, fingerprint, read_items
from unrolled.tasks.faults import Faults
from unrolled.tasks.scaling import Scaling

HEAD = "# made\n@problemName made\n@classLabel true up down\n@data\n"


def read(path: Path, skip: bool = False, labels: bool = True) -> list[Item]:
    return read_items(path, Fields(), Faults(skip), labels=labels)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'id,label,text\n1,up,"so, it goes"\n2,down,no\n'),
        ("a.tsv", "text\tlabel\nso, it goes\tup\nno\tdown\n"),
        (
            "a.jsonl",
            '{"text": "so, it goes", "label": "up"}\n\n{"text": "no", "label": "down"}\n',
        ),
    ],
)
def test_texts_are_read(tmp_path: Path, name: str, text: str) -> None:
    plain, packed = tmp_path / name, tmp_path / f"{name}.gz"
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    for path in (plain, packed):
        items = read(path)
        assert [(i.content, i.label) for i in items] == [("so, it goes", "up"), ("no", "down")]
        assert fingerprint(path, items)["sha256"] == fingerprint(plain, read(plain))["sha256"]
        assert [i.label for i in read(path, labels=False)] == [None, None]


def test_series_of_unequal_lengths_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    path.write_text(HEAD + "1,2,3:4,5,6:up\n7:8:down\n")
    first, second = read(path)
    assert (first.label, second.label, second.where) == ("up", "down", f"{path}:6")
    np.testing.assert_array_equal(first.content, np.array([[1, 4], [2, 5], [3, 6]]))
    np.testing.assert_array_equal(second.content, np.array([[7, 8]]))


def test_arrays_are_read(tmp_path: Path) -> None:
    path, x = tmp_path / "a.npz", np.arange(12.0).reshape(2, 3, 2)
    np.savez(path, x=x, y=np.array([3, -1]), flat=x[..., 0], names=np.array(["a", "b"]))
    items = read(path)
    assert [i.label for i in items] == ["3", "-1"]
    np.testing.assert_array_equal(items[1].content, x[1])
    fields = Fields(series_array="flat", label_array="names")
    other = read_items(path, fields, Faults(skip=False))
    assert other[1].label == "b"
    np.testing.assert_array_equal(other[1].content, x[1, :, :1])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "text,kind\n", "1: has no column 'label', only 'text', 'kind'"),
        ("a.csv", "text,label\n", "has no items"),
        ("a.csv", "text,label\nno,\n", "2: the label is empty"),
        ("a.csv", "text,label\n ,up\n", "2: the text is empty"),
        ("a.jsonl", '{"text": "no"}\n', "1: has no field 'label'"),
        ("a.ts", "1,2:up\n", "1: '1,2:up' is no line of a .ts file's head"),
        ("a.ts", "@timeStamps true\n", "1: the series have time stamps"),
        ("a.ts", "@data\n", "1: no line above is @classLabel true"),
        ("a.ts", "@classLabel true up\n", "has no line @data"),
        ("a.ts", HEAD + "1,?:up\n", "5: feature 0 has '\\?' where a finite number"),
        ("a.ts", HEAD + "1,inf:up\n", "5: feature 0 has 'inf' where a finite number"),
        ("a.ts", HEAD + "1,2:3:up\n", "5: features of 1 to 2 steps"),
        ("a.ts", HEAD + "1,2:left\n", "5: the label is 'left'; @classLabel names 'up down'"),
        ("a.npz", "no archive", "is no .npz file"),
    ],
)
def test_a_bad_file_is_named_with_line_and_reason(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError, match=f"{name}:? ?{message}"):
        read(path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": np.zeros(2)}, "no array 'x', only z; name it with --series-array"),
        ({"x": np.zeros(2)}, "'x' is float64 of shape \\(2,\\); series are numbers"),
        ({"x": np.zeros((2, 3)), "y": np.zeros(2)}, "'y' is float64 of shape \\(2,\\)"),
        ({"x": np.zeros((2, 3)), "y": np.zeros(3, int)}, "'y' is int64 of shape \\(3,\\)"),
        ({"x": np.array([[0, np.nan]]), "y": np.zeros(1, int)}, "item 0: is not finite at step 1"),
        ({"x": np.array([["a"], [{}]], dtype=object)}, "is no .npz file of plain arrays"),
    ],
)
def test_arrays_that_do_not_fit_are_named(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError, match=message):
        read(tmp_path / "a.npz")


def test_bad_items_are_left_out_and_counted(tmp_path: Path) -> None:
    path, faults = tmp_path / "a.csv", Faults(skip=True)
    path.write_text("text,label\nyes,up\n,up\nno\nno,down\nhm,left\n")
    items = read_items(path, Fields(), faults)
    kept = known(items, Classes(("up", "down")), faults)
    assert [item.content for item in kept] == ["yes", "no"]
    assert faults.summary() == (
        f"3 items are left out; the first: {path}:3: the text is empty; fill it or delete the line"
    )


def test_classes_are_in_the_order_of_their_values(tmp_path: Path) -> None:
    classes = Classes.of([Item("", "", label) for label in ("10", "9", "-1", "9")])
    assert classes.names == ("-1", "9", "10")
    classes.save(tmp_path)
    assert Classes.load(tmp_path) == classes


def test_a_split_holds_out_of_each_class_and_parts_no_equal_items() -> None:
    items = [Item("", f"{i % 30}", "a" if i % 3 else "b") for i in range(90)]
    train, dev = split(items, 0.2, seed=3)
    assert not {str(i.content) for i in train} & {str(i.content) for i in dev}
    assert len(train) + len(dev) == 90 and len(dev) == 18
    assert {i.label for i in dev} == {"a", "b"}
    assert split(items[::-1], 0.2, seed=3)[1] == dev[::-1]


def test_series_are_varied_within_their_ends() -> None:
    inputs = Series(Scaling(np.zeros(1), np.ones(1)))
    steps, lengths = torch.arange(1.0, 9).view(8, 1, 1).repeat(1, 2, 1), torch.tensor([8, 3])
    rolled = inputs.vary(steps, lengths, Augmentation(roll=0.5))
    assert sorted(rolled[:, 0, 0].tolist()) == list(range(1, 9))
    assert sorted(rolled[:3, 1, 0].tolist()) == [1, 2, 3]
    noisy = inputs.vary(steps, lengths, Augmentation(noise=0.1, stretch=0.1))
    assert 0 < (noisy - steps).abs().max() < 2
    assert inputs.vary(steps, lengths, Augmentation()) is steps
