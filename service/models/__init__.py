"""What a model is: its folder, its card, its options, and the graph that is loaded and run."""
