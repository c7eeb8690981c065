"""Sweeps: Ray Tune proposes, the warm worker groups of a suite answer."""
