"""Whole connections, measured side by side.  ``docs/performance.md`` says how a number is taken."""
