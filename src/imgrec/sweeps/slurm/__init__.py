"""Carry out the runs of a sweep as jobs of SLURM (launcher=slurm)."""
