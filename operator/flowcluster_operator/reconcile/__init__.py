"""A pass over one run or shared cluster, in three steps: observe, decide, apply; and the loop that makes the passes."""
