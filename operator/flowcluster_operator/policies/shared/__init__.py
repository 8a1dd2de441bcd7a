"""Policies for shared clusters, one a file. Policies that runs share with them are in the folder above."""
