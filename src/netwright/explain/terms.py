"""The words of a tour, each in one plain sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netwright.explain.structure import Parameter, Structure
    from netwright.explain.tour import Tour

TERMS: dict[str, str] = {
    "shape": "How many numbers a tensor has in each direction; the first one usually counts the examples.",
    "parameter": "A number that training may change: a weight or a bias.",
    "buffer": "A number that belongs to the network and is saved with it, but that no gradient changes.",
    "multiply–adds": "How many times two numbers are multiplied and added up in one forward pass; the usual measure of work.",
    "range": "The smallest and the largest value.",
    "mean": "The average of the values.",
    "deviation": "How far the values typically lie from their mean (standard deviation).",
    "zeros": "The share of values that are exactly 0.",
    "saturated": "The share of units at which the activation is so flat (slope under 0.05) that hardly any gradient comes through.",
    "histogram": "How the values are spread: the taller a bar, the more values lie in that part of the range.",
    "gradient": "How much the loss would change if a value were changed a little; training follows it downhill.",
    "gradient size": "The typical size of the gradient that comes back to a layer's output (root of the mean square).",
    "activation": "A function between the layers; without it, many layers could compute no more than one.",
    "logits": "The last layer's numbers, before they are turned into probabilities.",
    "shared": "A layer or weight that is used in several places, and is trained and counted once.",
    "frozen": "A parameter that training leaves as it is.",
    "evaluation": "The mode in which a network answers: dropout does nothing, batch norm uses what it remembered.",
}


def words_for(structure: Structure, tour: Tour, parameters: Sequence[Parameter]) -> dict[str, str]:
    """Returns the words that the view of a network uses, each with its sentence."""
    unused = {"buffer": structure.buffers == 0, "frozen": structure.trainable == structure.parameters}
    unused["shared"] = not any(one.shared for one in parameters)
    unused["saturated"] = unused["activation"] = all(stop.flat is None for stop in tour.stops)
    unused["gradient"] = unused["gradient size"] = not tour.back_from
    return {word: said for word, said in TERMS.items() if not unused.get(word, False)}
