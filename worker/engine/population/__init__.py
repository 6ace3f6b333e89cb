"""Many runs at once: jobs that differ in hyperparameters only, trained as one program."""

from worker.engine.population.run import run_population
from worker.engine.population.size import population_size

__all__ = ["population_size", "run_population"]
