"""What a network does with an example: which parts of it an answer rests on."""
