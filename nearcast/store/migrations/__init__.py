"""The history of the tables, one file a step; `nearcast.store.migrate` runs them."""
