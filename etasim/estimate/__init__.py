"""The analytical fidelity: what an iteration takes and moves, in closed form, from the loop nests that the program walks."""
