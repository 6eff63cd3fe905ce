"""Where Ray and the clock meet the core: control actor, inbox, executors."""
