"""Everything that is kept: tables, the life of jobs, series, workers. The only SQLAlchemy user."""
