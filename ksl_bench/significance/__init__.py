"""What can be told apart: intervals, paired differences, ranks. Arrays in, numbers out."""
