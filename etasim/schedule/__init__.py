"""How an operation is laid onto the array: pixels and kernel positions, tiles, loop nests, and the choice among them. Writes no command."""
