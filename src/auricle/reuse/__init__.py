"""No work is done twice: results of earlier requests, and requests that share one run."""
