"""Tokens as people read them."""

from __future__ import annotations

from collections.abc import Sequence

Token = tuple[int, str]
"""Its id, and its text as the tokenizer has it."""


def shown_tokens(tokens: Sequence[Token]) -> list[str]:
    """Return the texts of tokens, spaces and line breaks made visible; the id of one that has no text.

    Byte-level tokenizers (GPT-2's and those after it) write every byte as one letter. Where a token shows
    that it is one of theirs, all are read so; bytes that are no whole letter stay as they are.
    """
    byte_level = any("Ġ" in text or "Ċ" in text for _, text in tokens)
    letters = _letters() if byte_level else {}
    return [_visible(_decoded(text, letters)) or f"row {number}" for number, text in tokens]


def _visible(text: str) -> str:
    return "".join({" ": "␣", "▁": "␣", "\n": "⏎", "\t": "⇥"}.get(sign, sign) for sign in text)


def _decoded(text: str, letters: dict[str, int]) -> str:
    try:
        return bytes(letters[sign] for sign in text).decode()
    except (KeyError, UnicodeDecodeError):
        return text.replace("Ġ", " ").replace("Ċ", "\n") if letters else text


def _letters() -> dict[str, int]:
    """Return the byte that each letter stands for: itself where it prints, else in order from 256 on."""
    printing = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [one for one in range(256) if one not in set(printing)]
    plain = {chr(one): one for one in printing}
    return plain | {chr(256 + place): one for place, one in enumerate(others)}
