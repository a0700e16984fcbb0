"""Studies of etasim itself on many machines: is more hardware ever slower, and does the estimate rank machines as the cycle model does."""
