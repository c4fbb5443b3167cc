"""Files of sound and of features are read as they are, and a bad one gets one line."""

import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from unrolled.errors import ConfigError, DataError
from unrolled.tasks.transcribe import audio
from unrolled.tasks.transcribe.recordings import Reader, with_deltas

CEPSTRA = np.random.default_rng(0).normal(size=(7, 13)).astype(np.float32)


def mfc(count: int = 91, order: str = ">", numbers: np.ndarray = CEPSTRA) -> bytes:
    return struct.pack(f"{order}i", count) + numbers.astype(f"{order}f4").tobytes()


@pytest.mark.parametrize("order", [">", "<"], ids=["big-endian", "little-endian"])
def test_cepstra_are_read_in_both_byte_orders(tmp_path: Path, order: str) -> None:
    (tmp_path / "a.mfc").write_bytes(mfc(order=order))
    frames, rate = Reader().read(tmp_path / "a.mfc")
    assert rate == 0
    np.testing.assert_array_equal(frames, CEPSTRA)


@pytest.mark.parametrize("kind", [np.float64, np.int16])
def test_arrays_are_read(tmp_path: Path, kind: type) -> None:
    np.save(tmp_path / "a.npy", np.arange(6).reshape(3, 2).astype(kind))
    frames, _ = Reader().read(tmp_path / "a.npy")
    assert frames.dtype == np.float32
    assert frames.tolist() == [[0, 1], [2, 3], [4, 5]]


def array(values: object) -> Callable[[Path], None]:
    return lambda path: np.save(path, np.array(values))


FAULTS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "truncated": ("a.mfc", lambda p: p.write_bytes(mfc()[:-4]), "has 364 bytes, .* of 91 numbers"),
    "empty": ("a.mfc", lambda p: p.write_bytes(b""), "has 0 bytes.* is the file complete?"),
    "ragged": ("a.mfc", lambda p: p.write_bytes(mfc(6, ">", CEPSTRA[0, :6])), "6 numbers, not 13"),
    "no frames": ("a.mfc", lambda p: p.write_bytes(mfc(0, ">", CEPSTRA[:0])), "holds no sound"),
    "no array": ("a.npy", lambda p: p.write_bytes(b"text"), "is no array of NumPy .*np.save"),
    "pickled": ("a.npy", array([{}]), "is no array of NumPy"),
    "flat": ("a.npy", array([1.0, 2.0]), r"holds float64 of shape \(2,\); save numbers"),
    "words": ("a.npy", array([["a"]]), "holds <U1"),
    "not finite": ("a.npy", array([[1.0, np.nan]]), "holds NaN or infinity"),
    "long": ("a.npy", lambda p: np.save(p, np.zeros((201, 1))), "lasts 2.0 s; cut it, or raise"),
    "missing": ("a.npy", lambda p: None, "no such file or directory; name a file that"),
    "a folder": ("a.mfc", lambda p: p.mkdir(), "is a directory"),
    "another kind": ("a.mp3", lambda p: p.touch(), "give one of .wav, .flac, .npy, .mfc"),
    "no wav": ("a.wav", lambda p: p.write_bytes(b"RIFF, not"), "is no sound file that can be read"),
}


@pytest.mark.parametrize(("name", "make", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_a_bad_file_gets_one_line(
    tmp_path: Path, name: str, make: Callable[[Path], object], message: str
) -> None:
    if name.endswith(".wav"):
        pytest.importorskip("soundfile")
    make(tmp_path / name)
    with pytest.raises(DataError, match=message) as caught:
        Reader(most=2).read(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)


def tone(path: Path, rate: int = 8000, channels: int = 1, seconds: float = 0.5) -> Path:
    soundfile = pytest.importorskip("soundfile")
    wave = np.sin(2 * np.pi * 1000 * np.arange(int(rate * seconds)) / rate)
    soundfile.write(path, np.stack([wave] * channels, 1), rate)
    return path


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_tone_is_loud_in_its_band(tmp_path: Path, name: str) -> None:
    """1000 Hz lie at 1000 mel; 20 bands from 20 to 4000 Hz, which are 32 and 2146 mel."""
    pytest.importorskip("kaldi_native_fbank")
    frames, rate = Reader(mels=20).read(tone(tmp_path / name))
    assert (rate, frames.shape) == (8000, (50, 20))
    band = round((1000 - 32) / (2146 - 32) * 21) - 1
    assert set(frames[2:-2].argmax(1).tolist()) <= {band - 1, band, band + 1}
    both, _ = Reader(mels=20).read(tone(tmp_path / f"two-{name}", channels=2))
    np.testing.assert_allclose(both, frames, atol=1e-4)


def test_sound_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tone(tmp_path / "a.wav")
    with pytest.raises(DataError, match="has 8000 samples a second, not the 16000"):
        Reader().read(path, rate=16000)
    with pytest.raises(DataError, match="lasts 0.5 s; cut it"):
        Reader(most=0.4).read(path)


def test_what_reads_sound_is_only_needed_for_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    (tmp_path / "a.wav").touch()
    with pytest.raises(ConfigError, match=r"need soundfile; run pip install 'unrolled\[audio\]'"):
        Reader().read(tmp_path / "a.wav")
    assert audio.SUFFIXES == (".wav", ".flac")


def test_deltas_are_the_slopes_of_slopes() -> None:
    time = np.arange(12, dtype=np.float32)[:, None]
    frames = with_deltas(np.concatenate([time, time**2], 1), 2)
    assert frames.shape == (12, 6)
    np.testing.assert_allclose(frames[4:-4, 2], 1, atol=1e-5)
    np.testing.assert_allclose(frames[4:-4, 3], 2 * time[4:-4, 0], atol=1e-4)
    np.testing.assert_allclose(frames[4:-4, 5], 2, atol=1e-4)


def test_both_front_ends_hear_the_same(data_folder: Path) -> None:
    """The cosine transform of our bands follows the cepstra that Sphinx made of the same sound."""
    pytest.importorskip("soundfile")
    pytest.importorskip("kaldi_native_fbank")
    folder = data_folder / "speech"
    transform = np.cos(np.pi * np.arange(3)[:, None] * (np.arange(40) + 0.5) / 40)
    for name in ("an104-mrcb-b", "an127-mcen-b", "an152-mwhw-b"):
        bands, rate = Reader(mels=40).read(folder / f"an4_wav_subset/wav/{name}.wav")
        speaker = name.split("-")[1]
        cepstra, _ = Reader().read(folder / f"an4_mfcc/feat/an4_clstk/{speaker}/{name}.mfc")
        assert (rate, len(bands) - len(cepstra)) == (16000, 1)  # ours may hang over the end
        ours = (bands @ transform.T)[1:]
        for k in range(3):
            assert np.corrcoef(ours[3:-3, k], cepstra[3:-3, k])[0, 1] > 0.9
