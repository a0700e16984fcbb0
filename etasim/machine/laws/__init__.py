"""Laws that every simulation obeys, by theme; `etasim.machine.conservation` checks them all."""
