"""`make bench`: how fast Ticksy is, in ratios to a yardstick of the same run. `docs/performance.md` explains it."""
