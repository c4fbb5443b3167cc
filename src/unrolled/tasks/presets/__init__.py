"""Settings that were tried: a TOML file for each, under the flags and a user's own file."""

from pathlib import Path

PRESETS: dict[str, Path] = {p.stem: p for p in sorted(Path(__file__).parent.glob("*.toml"))}
