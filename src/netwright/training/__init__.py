"""From a module and batches to an iterator of steps, with everything that a crash must not lose."""
