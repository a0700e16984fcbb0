"""Random and damaged inputs for every command, each case reproducible from its kind, seed and number. See README.md."""
