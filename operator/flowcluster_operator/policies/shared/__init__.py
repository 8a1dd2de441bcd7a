"""Policies for shared clusters, one in each file. Those for both runs and shared clusters are in the folder above."""
