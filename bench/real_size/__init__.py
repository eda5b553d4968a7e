"""The published sizes on a CPU, with random weights: loading, memory, start and one picture."""
