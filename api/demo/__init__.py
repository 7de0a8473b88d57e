"""The demo: walking devices made from a seed, over the stores of `fixtures/demo`."""
