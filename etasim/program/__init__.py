"""The contract between mapper and machine: commands, the events that record them, tensor roles, and the builder of programs."""
