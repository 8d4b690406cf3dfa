"""Comparing choices: what is varied → trials, each an ordinary run → which differences are larger than the noise."""
