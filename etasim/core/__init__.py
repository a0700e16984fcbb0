"""Ground floor: the compiler, channels between components, clocks. Knows no component."""
