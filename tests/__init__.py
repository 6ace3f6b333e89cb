"""The tests, in tiers: unit, store, api, worker, e2e."""
