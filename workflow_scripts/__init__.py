"""The scripts of the steps, one module per step, and the package `lat` with the code that they share."""
