"""What is done with tickets outside a suite."""
