"""Devices, processes, threads, memory and number formats."""
