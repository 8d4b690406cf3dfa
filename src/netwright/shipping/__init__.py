"""A trained network with all that its answers need: one module, one card, one way from raw input to answer.

Everything that answers goes through `Answering`: `predict`, the server and the proof of an export, so that they cannot differ.
"""

from netwright.shipping.answers import Answering
from netwright.shipping.card import Card
from netwright.shipping.guard import Guard
from netwright.shipping.shipped import Shipped

__all__ = ["Answering", "Card", "Guard", "Shipped"]
