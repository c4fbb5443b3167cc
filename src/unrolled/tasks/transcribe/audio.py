"""Sound files, and the energy in their mel bands; needs `pip install 'unrolled[audio]'`."""

from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import ConfigError, DataError

SUFFIXES = (".wav", ".flac")
FULL = 1 << 15  # samples are scaled as 16-bit ones are, as the bands' floor of energy expects

Samples = NDArray[np.float32]


def read(path: Path, rate: int, most: float) -> tuple[Samples, int]:
    """Read a sound file; several channels are mixed into one.

    Args:
        path: a .wav or .flac file.
        rate: samples a second that it must have; 0 takes any.
        most: seconds of the longest that is read.

    Returns:
        The samples, -1 to 1, and how many there are a second.

    Raises:
        DataError: it is no sound file, has another rate or is too long.
        ConfigError: soundfile is not installed.
        OSError: there is no such file.
    """
    soundfile = _import("soundfile")
    with path.open("rb") as file:
        try:
            with soundfile.SoundFile(file) as sound:
                found = sound.samplerate
                if rate and found != rate:
                    raise DataError(
                        f"has {found} samples a second, not the {rate} that the others have; "
                        "convert it"
                    )
                if sound.frames > most * found:
                    raise DataError(
                        f"lasts {sound.frames / found:.1f} s; cut it, or raise --max-seconds "
                        f"({most:g})"
                    )
                samples = sound.read(dtype="float32", always_2d=True).mean(1)
        except soundfile.LibsndfileError as error:
            reason = error.error_string.rstrip(".").lower()
            raise DataError(f"is no sound file that can be read ({reason})") from None
    if not np.isfinite(samples).all():
        raise DataError("holds NaN or infinity; convert it anew")
    return samples, found


def log_mel(samples: Samples, rate: int, mels: int, seconds: float) -> NDArray[np.float32]:
    """Give the logarithm of the energy in mel bands, in windows of 25 ms, as Kaldi does.

    Args:
        samples: of a sound, -1 to 1.
        rate: samples a second.
        mels: how many bands, from 20 Hz to half the rate.
        seconds: from one window to the next.

    Returns:
        Frames (time, mels), one for each `seconds`.

    Raises:
        ConfigError: kaldi-native-fbank is not installed.
    """
    kaldi = _import("kaldi_native_fbank")
    options = kaldi.FbankOptions()
    options.frame_opts.samp_freq = rate
    options.frame_opts.frame_shift_ms = 1000 * seconds
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = False
    options.mel_opts.num_bins = mels
    bank = kaldi.OnlineFbank(options)
    bank.accept_waveform(rate, (samples * FULL).tolist())
    bank.input_finished()
    frames = [bank.get_frame(i) for i in range(bank.num_frames_ready)]
    return np.array(frames, np.float32).reshape(len(frames), mels)


def _import(name: str) -> ModuleType:
    try:
        return __import__(name)
    except (ImportError, OSError):  # soundfile raises the latter where its library is missing
        raise ConfigError(
            f"sound files need {name}; run pip install 'unrolled[audio]', or give files of features"
        ) from None
