"""etasim: a cycle-level simulator of ETA, an 8-bit DNN training accelerator."""
