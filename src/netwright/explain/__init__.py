"""What a network is and what it does with an example: its structure, the tour, the diagram, and what an answer rests on."""
