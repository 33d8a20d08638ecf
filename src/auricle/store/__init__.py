"""What outlives the process: tables, migrations, and the results of earlier requests."""
