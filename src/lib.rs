//! Password reset operator.
