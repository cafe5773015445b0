"""Runs one target, as `python -m tests.fuzzing` says: TARGET FOLDER and libFuzzer's arguments.

FOLDER gets what the target begins with, and its words.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from random import Random

import atheris

from .target import Target
from .xml_mutations import mutated


def prepare(target: Target, folder: Path) -> list[str]:
    """Write the files, and say so to libFuzzer."""
    seeds, words = folder / "seeds", folder / "words"
    seeds.mkdir()
    for number, seed in enumerate(target.seeds()):
        (seeds / f"seed-{number}").write_bytes(seed)
    # One that no target needs: libFuzzer takes no empty file.
    quoted = "".join(f'"{_quoted(word)}"\n' for word in ("\0\0\0\0", *target.words))
    words.write_text(quoted, "utf-8")
    return [f"-dict={words}", str(seeds)]


def _quoted(word: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word.encode())


def mutate_xml(data: bytes, max_size: int, seed: int) -> bytes:
    """Half of the time as ever, else as XML."""
    random = Random(seed)
    if random.random() < 0.5:
        return bytes(atheris.Mutate(data, max_size))
    for _ in range(random.randint(1, 3)):
        data = mutated(data, random)
    return data[:max_size]


def main() -> None:
    """Ends the process, as libFuzzer does."""
    name, folder, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=["ibcm_bridge"]):
        targets = importlib.import_module("tests.fuzzing.targets").TARGETS
    target = targets[name]
    arguments = [sys.argv[0], *arguments, *prepare(target, Path(folder))]
    if target.is_xml:
        atheris.Setup(arguments, target.run, custom_mutator=mutate_xml)
    else:
        atheris.Setup(arguments, target.run)
    atheris.Fuzz()


main()
