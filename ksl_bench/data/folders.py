"""Folders of parallel text with one file a language, as FLORES comes.

<folder>/devtest/eng.devtest          FLORES-101
<folder>/devtest/eng_Latn.devtest     FLORES-200
<folder>/devtest.eng                  OPUS
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

SPLITS = ("train", "dev", "devtest")
_LANGUAGE = re.compile(r"[a-z]{2,3}(_[A-Za-z]+)?")


def find_files(
    folder: str, split: str, languages: tuple[str, str], problems: list[str]
) -> tuple[str, str] | None:
    """Return the files of two languages in a folder; see `find_language_files`."""
    found = find_language_files(folder, split, languages, problems)
    return None if found is None else (found[languages[0]], found[languages[1]])


def find_language_files(
    folder: str, split: str, languages: Sequence[str], problems: list[str]
) -> dict[str, str] | None:
    """Return the files of some languages in a folder.

    Args:
        folder: Must exist.
        split: "train", "dev" or "devtest".
        languages: ISO 639-3 codes; one without a script also finds the only file of that language with a
            script.
        problems: Takes what is wrong.

    Returns:
        Paths by language, or None if one is not there.
    """
    files = _files(Path(folder), split)
    if not files:
        there = [name for name in SPLITS if _files(Path(folder), name)]
        problems.append(
            f"{folder}: no {split} split; there is {', '.join(there)}"
            if there
            else f"{folder}: no {split} split: neither {split}/LANGUAGE.{split} nor "
            f"{split}.LANGUAGE is there"
        )
        return None
    found = {one: _of_language(folder, split, one, files, problems) for one in languages}
    whole = {one: path for one, path in found.items() if path is not None}
    return whole if len(whole) == len(found) else None


def _files(folder: Path, split: str) -> dict[str, str]:
    """Return language -> path; the nested form goes before the flat one."""
    nested = {
        path.name.removesuffix(f".{split}"): str(path)
        for path in sorted(folder.glob(f"{split}/*.{split}"))
    }
    flat = {
        path.name.removeprefix(f"{split}."): str(path) for path in sorted(folder.glob(f"{split}.*"))
    }
    return {
        language: path
        for language, path in (nested or flat).items()
        if _LANGUAGE.fullmatch(language) and Path(path).is_file()
    }


def _of_language(
    folder: str, split: str, language: str, files: dict[str, str], problems: list[str]
) -> str | None:
    if language in files:
        return files[language]
    scripts = [name for name in files if name.startswith(f"{language}_")]
    if len(scripts) == 1:
        return files[scripts[0]]
    problems.append(
        f"{folder}: {language} comes in several scripts, name one of {', '.join(scripts)}"
        if scripts
        else f"{folder}: no language {language} in {split}; there is {', '.join(sorted(files))}"
    )
    return None
