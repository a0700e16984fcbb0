"""Values: executes what the machine did, event by event, on real bytes, and compares the result with the integer reference."""
