//! Stateful simulators.
