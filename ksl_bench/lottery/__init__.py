"""Winning tickets: how rows are tested, selected and kept."""
